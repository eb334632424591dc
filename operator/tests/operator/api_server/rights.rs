//! Who may do what, as roles say it.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::faults::Call;

/// A rule of a role.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    pub(crate) api_groups: Vec<String>,
    pub(crate) resources: Vec<String>,
    #[serde(default)]
    pub(crate) resource_names: Vec<String>,
    pub(crate) verbs: Vec<String>,
}

/// Rules, and where they hold.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) rules: Vec<Rule>,
    /// Everywhere, if it is none.
    pub(crate) namespace: Option<String>,
}

/// All roles of somebody.
#[derive(Clone, Debug)]
pub(crate) struct Rights(pub(crate) Vec<Role>);

impl Rights {
    /// Whether a call is among them.
    pub(super) fn allow(&self, call: &Call) -> bool {
        self.0.iter().any(|role| {
            let is_here = role.namespace.as_ref().is_none_or(|only| *only == call.namespace);
            is_here && role.rules.iter().any(|rule| rule.allows(call))
        })
    }
}

impl Rule {
    pub(crate) fn allows(&self, call: &Call) -> bool {
        self.api_groups.contains(&call.group)
            && self.resources.contains(&call.resource)
            && self.verbs.iter().any(|verb| verb == call.verb)
            && (self.resource_names.is_empty() || self.resource_names.contains(&call.name))
    }

    /// Each thing that it allows.
    pub(crate) fn each(&self) -> BTreeSet<(String, String, String)> {
        let mut all = BTreeSet::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    all.insert((group.clone(), resource.clone(), verb.clone()));
                }
            }
        }
        all
    }
}
