//! A golden example of what a log directory shows.

use quorate_wal::inspect::{Kind, Record, records};
use quorate_wal::{Batch, HardState, Mark};
use sim_disk::Corruption;

use crate::support::{FOLDER, Rig, SMALL, entries};

fn line(record: &Record) -> String {
    let Record { file, offset, kind, index, term, body, verdict } = record;
    let kind = match kind {
        Kind::Segment { identity, previous } => {
            format!(
                "segment of {:x}/{:x} after {previous:?}",
                identity.cluster_id, identity.member_id
            )
        }
        Kind::Batch { number, synced, hard_state } => {
            let HardState { vote, commit, .. } = hard_state;
            format!("batch {number} synced {synced} vote {vote} commit {commit}")
        }
        Kind::Seal { number } => format!("seal {number}"),
        Kind::Mark => "mark".to_owned(),
        Kind::Entry => "entry".to_owned(),
        Kind::Gap { length } => format!("gap of {length}"),
    };
    let size = body.len();
    format!("{} {offset} {kind} index {index} term {term} bytes {size} {verdict:?}", &file[14..])
}

#[test]
fn the_records_of_a_damaged_log() {
    let mut rig = Rig::create(1, SMALL);
    rig.settle();
    rig.append(entries(1..=2, 1, 100));
    rig.append(entries(3..=3, 1, 500));
    rig.settle();
    let mark = Mark { index: 2, term: 1, conf_state: vec![1, 2, 3].into() };
    rig.append(Batch { mark: Some(mark), ..Batch::default() });
    rig.settle();
    rig.append(entries(4..=4, 2, 10));
    rig.settle();
    for corruption in
        [Corruption::FlipBit { offset: 2560 + 300, bit: 0 }, Corruption::ZeroSector { sector: 2 }]
    {
        rig.disk.corrupt("log/0000000000000001.log", corruption).unwrap();
    }
    let mut lines = Vec::new();
    for file in records(&*rig.disk.files(FOLDER)).unwrap() {
        lines.extend(file.unwrap().iter().map(line));
    }
    let expected = "\
01.log 0 segment of c1/3e after (0, 0) index 0 term 0 bytes 0 Intact
01.log 1024 gap of 512 index 0 term 0 bytes 0 Unreadable
01.log 1536 seal 1 index 0 term 0 bytes 0 Intact
01.log 2048 batch 2 synced 1 vote 1 commit 0 index 0 term 1 bytes 0 Intact
01.log 2048 entry index 1 term 1 bytes 100 Intact
01.log 2048 entry index 2 term 1 bytes 100 Intact
01.log 2560 batch 3 synced 1 vote 1 commit 2 index 0 term 1 bytes 0 BadBody
01.log 2560 entry index 3 term 1 bytes 0 BadBody
01.log 3584 seal 3 index 0 term 1 bytes 0 Intact
02.log 0 segment of c1/3e after (1, 4096) index 0 term 0 bytes 0 Intact
02.log 1024 batch 4 synced 3 vote 1 commit 2 index 0 term 1 bytes 0 Intact
02.log 1024 mark index 2 term 1 bytes 3 Intact
02.log 1536 seal 4 index 0 term 1 bytes 0 Intact
02.log 2048 batch 5 synced 4 vote 2 commit 3 index 0 term 2 bytes 0 Intact
02.log 2048 entry index 4 term 2 bytes 10 Intact
02.log 2560 seal 5 index 0 term 2 bytes 0 Intact
";
    assert_eq!(lines.join("\n") + "\n", expected);
}
