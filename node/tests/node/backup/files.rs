//! Files that etcd 3.4.23, 3.5.33 and 3.6.14 wrote: read, and restored.
//!
//! Each had the same history: five keys `registry/pods/p1` to `p5`, a lease with one key, `p1`
//! written again, `p2` deleted, all compacted at 8, `p3` written again and `p4` deleted.

use std::path::{Path, PathBuf};

use super::{all, hashes, json, leases, members, restore, run, snapshot, text};
use crate::process::Folder;

/// A release with what its own tools say of its file.
struct Release {
    version: &'static str,
    hash: u32,
    hash_kv: u32,
    storage_version: &'static str,
    lease: i64,
}

const RELEASES: [Release; 3] = [
    Release {
        version: "3.4",
        hash: 2_589_544_354,
        hash_kv: 2_261_454_471,
        storage_version: "",
        lease: 0x76d3_a219_0451_800c,
    },
    Release {
        version: "3.5",
        hash: 1_847_362_169,
        hash_kv: 2_762_716_425,
        storage_version: "",
        lease: 0x76d3_a219_0454_bc0a,
    },
    Release {
        version: "3.6",
        hash: 3_231_367_996,
        hash_kv: 3_135_895_180,
        storage_version: "3.6.0",
        lease: 0x76d3_a219_0459_870a,
    },
];

pub(super) fn file(version: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/backup/fixtures");
    folder.join(format!("etcd-{version}.db"))
}

#[test]
fn figures_of_older_releases_files_are_those_of_their_tools() {
    for release in &RELEASES {
        let path = file(release.version);
        let figures = |words: &[&str]| run(snapshot(words).arg(&path));
        let status = json(&figures(&["status", "--write-out=json"]));
        let expected = serde_json::json!({
            "hash": release.hash, "revision": 11, "totalKey": 4, "totalSize": 20_480,
            "version": release.storage_version,
        });
        assert_eq!(status, expected, "{}", release.version);
        let simple = figures(&["status"]);
        let version = release.storage_version;
        assert_eq!(simple, format!("{:x}, 11, 4, 20 kB, {version}\n", release.hash));
        let hash = json(&figures(&["hashkv", "-w", "json"]));
        let expected = serde_json::json!({
            "hash": release.hash_kv, "hashRevision": 11, "compactRevision": 8,
        });
        assert_eq!(hash, expected, "{}", release.version);
    }
}

#[tokio::test]
async fn files_of_older_releases_become_clusters() {
    let folder = Folder::new("backup-older");
    for release in &RELEASES {
        let name = format!("of{}", release.version.replace('.', ""));
        let (mut made, cluster) = members(folder.path(), &name, 1);
        let member = &mut made[0];
        let said = restore(&file(release.version), member, &cluster, &[]);
        assert!(said.contains("Revision 11, compacted up to 8; keys 4, leases 1"), "{said}");
        member.start();
        member.wait_ready().await;
        let client = member.client();
        let (revision, kvs) = all(&client).await;
        assert_eq!(revision, 11);
        let kvs: Vec<_> = kvs
            .iter()
            .map(|kv| (kv.key.as_ref(), kv.value.as_ref(), kv.create_revision, kv.mod_revision))
            .collect();
        let expected: [(&[u8], &[u8], i64, i64); 4] = [
            (b"registry/leases/l1", b"held", 7, 7),
            (b"registry/pods/p1", b"v1b", 2, 8),
            (b"registry/pods/p3", b"v3b", 4, 10),
            (b"registry/pods/p5", b"v5", 6, 6),
        ];
        assert_eq!(kvs, expected, "{}", release.version);
        assert_eq!(hashes(&client, 11..=11).await, [(release.hash_kv, 8)]);
        let held = (9000, vec![b"registry/leases/l1".to_vec()]);
        assert_eq!(leases(&client).await.into_iter().collect::<Vec<_>>(), [(release.lease, held)]);
        let id = client.status().await.expect("answered").header.expect("a header").member_id;
        let members = client.member_list(Default::default()).await.expect("answered").members;
        assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [id]);
        // A backup of it has the same history.
        let backup = folder.path().join(format!("{name}.db"));
        let endpoint = format!("--endpoints={}", member.client_url());
        let said = run(snapshot(&["save", &endpoint]).arg(&backup));
        assert!(said.starts_with(&format!("Snapshot saved at {}\n", text(&backup))), "{said}");
        let hash = json(&run(snapshot(&["hashkv", "-w=json"]).arg(&backup)));
        assert_eq!(hash["hash"], release.hash_kv);
    }
}
