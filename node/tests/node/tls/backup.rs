//! `quorate snapshot save` where members speak TLS.

use super::authority::{Authority, as_is};
use super::member::{Folder, Member, quorate};

#[test]
fn a_backup_is_made_over_tls_with_the_flags_of_etcdctl() {
    let (trusted, other) = (Authority::root("trusted", &as_is), Authority::root("other", &as_is));
    let folder = Folder::new("backup");
    let (member, client) = (trusted.member("member", &as_is), trusted.client("client", &as_is));
    let stranger = other.client("stranger", &as_is);
    for (name, text) in [
        ("member.pem", &member.chain),
        ("member.key", &member.key),
        ("client.pem", &client.chain),
        ("client.key", &client.key),
        ("stranger.pem", &stranger.chain),
        ("stranger.key", &stranger.key),
        ("ca.pem", &trusted.pem),
        ("other-ca.pem", &other.pem),
    ] {
        folder.write(name, text);
    }
    let mut running = Member::start(
        &folder,
        &[
            "--cert-file=member.pem",
            "--key-file=member.key",
            "--trusted-ca-file=ca.pem",
            "--client-cert-auth",
            "--peer-auto-tls",
        ],
    );
    running.wait_until_ready();
    let save = |words: &[&str], endpoint: &str| {
        let mut command = quorate();
        command.current_dir(&folder.0).args(["snapshot", "save", "saved.db"]).args(words);
        let output = command.arg(format!("--endpoints={endpoint}")).output();
        output.expect("the program is there")
    };
    let file = folder.0.join("saved.db");
    let url = format!("https://{}", running.client);
    let certificate = ["--cert=client.pem", "--key=client.key"];
    for (words, expected) in [
        (&["--cacert=other-ca.pem", certificate[0], certificate[1]][..], "UnknownIssuer"),
        (&["--cacert=ca.pem"], "--cert and --key have to name one that it trusts"),
        (
            &["--cacert=ca.pem", "--cert=stranger.pem", "--key=stranger.key"],
            "--cert and --key have to name one that it trusts",
        ),
        (&certificate, "give --cacert"),
        (&["--cacert=client.key"], "--cacert: client.key"),
    ] {
        let output = save(words, &url);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(expected), "{words:?}: {said}");
        assert!(!file.exists() && !folder.0.join("saved.db.part").exists(), "{words:?}");
    }
    for (words, endpoint) in [
        (&["--cacert=ca.pem", certificate[0], certificate[1]][..], url.as_str()),
        (&["--insecure-skip-tls-verify", certificate[0], certificate[1]], &url),
        // What is given for TLS decides where the endpoint does not.
        (
            &["--cacert=ca.pem", certificate[0], certificate[1]],
            url.strip_prefix("https://").expect("https"),
        ),
    ] {
        let output = save(words, endpoint);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        let status = quorate().args(["snapshot", "status"]).arg(&file).output();
        assert!(status.expect("the program is there").status.success());
        std::fs::remove_file(&file).expect("it was saved");
    }
}
