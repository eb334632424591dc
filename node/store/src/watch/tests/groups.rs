//! The groups against a list of ranges.

use proptest::prelude::*;

use crate::watch::groups::Groups;
use crate::watch::range::KeyRange;

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0_u8..4, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_key_finds_exactly_the_ranges_that_contain_it(
        steps in prop::collection::vec((key(), key(), any::<bool>(), key()), 1..120),
    ) {
        let mut groups = Groups::new();
        let mut members: Vec<(KeyRange, u32)> = Vec::new();
        for (start, end, leaves, wanted) in steps {
            if leaves && !members.is_empty() {
                let (_, group) = members.swap_remove(wanted.len() * 7 % members.len());
                groups.leave(group);
            } else if let Some(range) = KeyRange::from_request(&start, &end) {
                let group = groups.join(range.clone(), 1);
                members.push((range, group));
            }
            let mut found = Vec::new();
            groups.find(&wanted, &mut found);
            found.sort_unstable();
            let containing = members.iter().filter(|(range, _)| range.contains(&wanted));
            let mut expected: Vec<u32> = containing.map(|(_, group)| *group).collect();
            expected.sort_unstable();
            expected.dedup();
            prop_assert_eq!(found, expected);
            let mut distinct: Vec<_> = members.iter().map(|(_, group)| *group).collect();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(groups.len(), distinct.len());
        }
    }
}
