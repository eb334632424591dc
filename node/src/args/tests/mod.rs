//! The table against a list of etcd's flags, and Go's syntax.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::environment::{self, EnvironmentError};
use super::table::{self, Standing};
use super::*;

fn read(words: &[&str]) -> Result<Given, SyntaxError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    parse(table::flags(), &words, Words::EndFlags)
}

fn value<'given>(given: &'given Given, flag: &str) -> Option<&'given str> {
    given.values.get(flag).map(String::as_str)
}

#[test]
fn every_flag_of_etcd_is_known_with_its_default() {
    let fixture = include_str!("flags.txt");
    let mut lines = fixture.lines().filter(|line| !line.starts_with('#'));
    let flags: BTreeMap<&str, &str> = lines
        .by_ref()
        .take_while(|line| *line != "---")
        .map(|line| line.split_once(' ').unwrap_or((line, "")))
        .collect();
    let ignored: BTreeSet<&str> = lines.collect();
    assert_eq!((flags.len(), ignored.len()), (113, 13), "the fixture is not what it was");
    let ours: BTreeMap<&str, &str> =
        table::entries().map(|entry| (entry.flag.name, entry.flag.default)).collect();
    for (name, default) in &flags {
        let flag = table::flags().find(|flag| flag.name == *name);
        let flag = flag.unwrap_or_else(|| panic!("--{name} is not in the table"));
        let same = flag.default.replace(' ', "") == default.replace(' ', "")
            || flag.kind.means_same(flag.default, default);
        assert!(same, "--{name}: default {:?}, etcd has {default:?}", flag.default);
    }
    let more: Vec<&&str> = ours.keys().filter(|name| !flags.contains_key(**name)).collect();
    assert_eq!(more, [&"memory-limit-bytes", &"segment-bytes"], "flags that etcd does not have");
    let names: BTreeSet<&str> = table::flags().map(|flag| flag.name).collect();
    assert_eq!(names.len(), table::flags().count(), "a flag is in the table twice");
    let ours: BTreeSet<&str> = names.into_iter().filter(|name| table::is_ignored(name)).collect();
    assert_eq!(ours, ignored);
}

#[test]
fn defaults_are_of_their_kind() {
    for flag in table::flags() {
        assert_eq!(flag.kind.check(flag.default), Ok(()), "--{}", flag.name);
    }
}

#[test]
fn what_protects_is_never_passed_over() {
    let entry = table::entries().find(|entry| entry.flag.name == "auth-token").expect("known");
    assert!(matches!(entry.standing, Standing::Refused(_)));
}

#[test]
fn flags_are_written_as_in_go() {
    let given = read(&["-name", "a", "--data-dir=b", "--pre-vote=false", "-strict-reconfig-check"]);
    let given = given.expect("good");
    assert_eq!(value(&given, "name"), Some("a"));
    assert_eq!(value(&given, "data-dir"), Some("b"));
    assert_eq!(value(&given, "pre-vote"), Some("false"));
    assert_eq!(value(&given, "strict-reconfig-check"), Some("true"));
    assert!(given.words.is_empty());
    // A boolean takes no second word: what follows it ends the flags.
    let given = read(&["--pre-vote", "false", "--name", "a"]).expect("good");
    assert_eq!(given.words, ["false", "--name", "a"]);
    // The last one counts; a value may look like a flag.
    let given = read(&["--name", "a", "--name", "--b"]).expect("good");
    assert_eq!(value(&given, "name"), Some("--b"));
    let given = read(&["--name=a=b", "--", "--name"]).expect("good");
    assert_eq!(
        (value(&given, "name"), given.words.as_slice()),
        (Some("a=b"), &["--name".into()][..])
    );
    assert!(read(&["--name", "a", "--help"]).expect("good").is_help);
    assert!(read(&["-h"]).expect("good").is_help);
}

#[test]
fn words_between_flags_are_allowed_where_wanted() {
    let words = ["a".to_owned(), "--name=x".to_owned(), "b".to_owned()];
    let given = parse(table::flags(), &words, Words::BetweenFlags).expect("good");
    assert_eq!(given.words, ["a", "b"]);
    assert_eq!(value(&given, "name"), Some("x"));
}

#[test]
fn what_is_not_understood_is_said_in_gos_words() {
    let text = |words: &[&str]| read(words).expect_err("bad").to_string();
    let unknown = "flag provided but not defined: -dta-dir (did you mean --data-dir?)";
    assert_eq!(text(&["--dta-dir", "x"]), unknown);
    assert_eq!(text(&["--qwertyuiop"]), "flag provided but not defined: -qwertyuiop");
    for (removed, now) in [
        ("initial-corrupt-check", "feature-gates=InitialCorruptCheck=true"),
        ("watch-progress-notify-interval", "watch-progress-notify-interval"),
        ("snapshot-catch-up-entries", "snapshot-catchup-entries"),
    ] {
        let said = text(&[&format!("--experimental-{removed}=x")]);
        assert!(said.ends_with(&format!("(did you mean --{now}?)")), "{said}");
    }
    assert_eq!(text(&["--name"]), "flag needs an argument: -name");
    assert_eq!(text(&["---name"]), "bad flag syntax: ---name");
    assert_eq!(text(&["--=x"]), "bad flag syntax: --=x");
    let bad = "invalid value \"x\" for flag -heartbeat-interval: parse error";
    assert_eq!(text(&["--heartbeat-interval=x"]), bad);
    assert!(text(&["--listen-peer-urls=localhost:1"]).contains("URL scheme must be http"));
    assert!(text(&["--feature-gates=Foo=true"]).ends_with("unrecognized feature gate: Foo"));
    assert!(text(&["--feature-gates=AllBeta"]).ends_with("missing bool value for AllBeta"));
}

#[test]
fn numbers_and_durations_are_gos() {
    assert_eq!(unsigned("0x10"), Some(16));
    assert_eq!(unsigned("010"), Some(8));
    assert_eq!(unsigned("0"), Some(0));
    assert_eq!(unsigned("+1"), None);
    assert_eq!(unsigned("-1"), None);
    assert_eq!(unsigned("18446744073709551616"), None);
    assert_eq!(signed("-9223372036854775808"), Some(i64::MIN));
    assert_eq!(signed("9223372036854775808"), None);
    assert_eq!(Kind::Unsigned32.check("4294967296"), Err("parse error".into()));
    let nanos = |text| duration(text).map(|duration| duration.as_nanos());
    assert_eq!(nanos("1h30m"), Some(5_400_000_000_000));
    assert_eq!(nanos("1.5s"), Some(1_500_000_000));
    assert_eq!(nanos(".5ms"), Some(500_000));
    assert_eq!(nanos("250ms10us3ns"), Some(250_010_003));
    assert_eq!(duration("0"), Some(Duration::ZERO));
    for bad in
        ["", "1", "s", "1x", ".s", "1..5s", "-1s", "1h1", "99999999999999999999h", "2562048h"]
    {
        assert_eq!(duration(bad), None, "{bad}");
    }
}

#[test]
fn the_environment_fills_what_is_not_given() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut given = read(&["--name=a"]).expect("good");
    let variables = [
        pair("ETCD_DATA_DIR", "d"),
        pair("ETCD_WAL_DIR", ""),
        pair("ETCD_NOTHING", "x"),
        pair("ETCD_VERSION", "3"),
        pair("ETCD_UNSUPPORTED_ARCH", "arm"),
        pair("PATH", "x"),
    ];
    let notices = environment::apply(&mut given, table::flags(), &variables).expect("good");
    assert_eq!(value(&given, "data-dir"), Some("d"));
    assert_eq!(value(&given, "wal-dir"), None);
    let warnings: Vec<&str> = notices
        .iter()
        .filter(|notice| notice.is_warning)
        .map(|notice| notice.message.as_str())
        .collect();
    assert_eq!(
        warnings,
        [
            "unrecognized environment variable ETCD_NOTHING=x",
            "cannot set special environment variable ETCD_VERSION=3"
        ]
    );
    let both = [pair("ETCD_NAME", "")];
    let error = environment::apply(&mut given, table::flags(), &both).expect_err("both");
    assert_eq!(error, EnvironmentError::Conflict("ETCD_NAME".to_owned()));
    let bad = [pair("ETCD_PRE_VOTE", "maybe")];
    let error = environment::apply(&mut Given::default(), table::flags(), &bad).expect_err("bad");
    let text = "invalid value \"maybe\" for ETCD_PRE_VOTE: parse error";
    assert_eq!(error.to_string(), text);
}

/// `UPDATE_GOLDEN=1` writes the file anew.
#[test]
fn help_is_what_is_written_down() {
    let help = help::program();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/args/tests/help.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &help).expect("the file can be written");
    }
    let golden = std::fs::read_to_string(path).expect("the file is there");
    assert_eq!(help, golden, "run with UPDATE_GOLDEN=1 and read what changed");
    assert!(help.lines().all(|line| line.chars().count() <= 140), "a line is too long");
    for entry in table::entries() {
        assert!(help.contains(&format!("  --{}", entry.flag.name)), "--{}", entry.flag.name);
    }
}
