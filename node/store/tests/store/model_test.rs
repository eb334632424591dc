//! Random requests: our store says what the model says.

use proptest::prelude::*;
use quorate_api::limits::TXN_OPS_DEFAULT;
use quorate_store::apply::check;

use crate::generate;
use crate::model::Model;
use crate::ours::Ours;
use crate::request::Request;

/// Transactions that the server refuses before they reach the store.
pub(crate) fn is_refused_early(request: &Request) -> bool {
    matches!(request, Request::Txn(txn) if check::check_txn(txn, TXN_OPS_DEFAULT).is_err())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn says_what_the_model_says(
        requests in prop::collection::vec((generate::request(), any::<bool>()), 1..120),
    ) {
        let (mut ours, mut model) = (Ours::new(), Model::new());
        for (request, prune) in requests {
            let request = generate::place(request, model.revision());
            if is_refused_early(&request) {
                continue;
            }
            prop_assert_eq!(ours.answer(&request), model.answer(&request), "{:?}", request);
            prop_assert_eq!(ours.store.revision(), model.revision());
            for revision in model.compactions() {
                let hash = Request::Hash(revision);
                prop_assert_eq!(ours.answer(&hash), model.answer(&hash), "{}", revision);
            }
            if prune {
                let _ = ours.store.prune_step();
            }
        }
    }
}
