//! What is wrong with certificates ends the start, and says which flag, which file and why.

use std::os::unix::fs::PermissionsExt as _;

use super::authority::{Authority, as_is};
use super::caller::{Caller, DOORS, roots};
use super::member::{Folder, Member, OK, block_on, quorate};

#[test]
fn bad_files_end_the_start() {
    let root = Authority::root("root", &as_is);
    let folder = Folder::new("starts");
    let (member, other) = (root.member("one", &as_is), root.member("two", &as_is));
    folder.write("member.pem", &member.chain);
    folder.write("member.key", &member.key);
    folder.write("other.key", &other.key);
    folder.write("ca.pem", &root.pem);
    folder.write("empty.pem", "");
    folder.write("half.pem", member.chain.get(..200).expect("half of it"));
    folder.write("half.crl", root.revoke(&[1], 2120).get(..200).expect("half of it"));
    folder.write("bad.crl", "-----BEGIN X509 CRL-----\nMAMCAQU=\n-----END X509 CRL-----\n");
    let client = |flags: &[&str]| -> Vec<String> {
        let url = "https://127.0.0.1:1";
        [&["--listen-client-urls", url, "--advertise-client-urls", url][..], flags]
            .concat()
            .iter()
            .map(|word| (*word).to_owned())
            .collect()
    };
    let pair = ["--cert-file=member.pem", "--key-file=member.key"];
    let with_pair = |flags: &[&str]| client(&[&pair[..], flags].concat());
    let with_list =
        |list: &str| with_pair(&["--trusted-ca-file=ca.pem", &format!("--client-crl-file={list}")]);
    for (words, parts) in [
        (
            client(&["--cert-file=no.pem", "--key-file=member.key"]),
            &["--cert-file", "no.pem", "No such file"][..],
        ),
        (
            client(&["--cert-file=member.pem", "--key-file=other.key"]),
            &["the key is not the certificate's"],
        ),
        (client(&["--cert-file=empty.pem", "--key-file=member.key"]), &["no certificate in it"]),
        (client(&["--cert-file=half.pem", "--key-file=member.key"]), &["half.pem", "cut off"]),
        (client(&["--cert-file=member.pem", "--key-file=ca.pem"]), &["no private key in it"]),
        (with_pair(&["--trusted-ca-file=empty.pem"]), &["--trusted-ca-file", "no certificate"]),
        (with_pair(&["--client-cert-auth"]), &["--client-cert-auth", "--trusted-ca-file"]),
        (with_list("empty.pem"), &["--client-crl-file", "no revocation list in it"]),
        (with_list("half.crl"), &["half.crl", "cut off"]),
        (with_list("bad.crl"), &["bad.crl", "revocation list 1 in it cannot be used"]),
        (with_list("no.crl"), &["no.crl", "No such file"]),
        (
            with_pair(&["--cipher-suites=TLS_RSA_WITH_RC4_128_SHA"]),
            &["\"TLS_RSA_WITH_RC4_128_SHA\"", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
        ),
    ] {
        let output = quorate().current_dir(&folder.0).args(&words).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{words:?} does not say {part}: {said}");
        }
    }
}

#[test]
fn a_member_that_makes_its_certificates_keeps_them() {
    let folder = Folder::new("made");
    let flags = ["--auto-tls", "--peer-auto-tls", "--self-signed-cert-validity=2"];
    let mut one = Member::start(&folder, &flags);
    one.wait_until_ready();
    let read = |name: &str| std::fs::read_to_string(folder.0.join(name)).expect("it is there");
    let made = read("one/fixtures/client/cert.pem");
    for key in ["one/fixtures/client/key.pem", "one/fixtures/peer/key.pem"] {
        let mode = std::fs::metadata(folder.0.join(key)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
    drop(one);
    let mut one = Member::start(&folder, &flags);
    one.wait_until_ready();
    assert_eq!(read("one/fixtures/client/cert.pem"), made);
    // Whoever trusts it is answered, without showing anything.
    let trusted = roots(&(made + &read("one/fixtures/peer/cert.pem")));
    block_on(async {
        for door in DOORS {
            let caller = Caller::new(&trusted, None);
            assert_eq!(caller.ask(door, one.address(door)).await, OK, "{door:?}");
        }
    });
}
