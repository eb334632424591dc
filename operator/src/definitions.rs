//! The definitions of the custom resources, as manifests.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// A definition cannot be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("the definition of {kind} cannot be written as YAML: {reason}")]
pub struct DefinitionError {
    kind: String,
    reason: String,
}

/// One definition as YAML.
///
/// # Errors
/// [`DefinitionError`], which a test would have met.
pub fn manifest(definition: &CustomResourceDefinition) -> Result<String, DefinitionError> {
    let error = |reason: serde_yaml::ser::Error| DefinitionError {
        kind: definition.spec.names.kind.clone(),
        reason: reason.to_string(),
    };
    serde_yaml::to_string(definition).map_err(error)
}

/// All definitions, one document behind the other.
pub(crate) fn all() -> Result<String, DefinitionError> {
    let documents: Result<Vec<String>, _> =
        quorate_operator_api::definitions().iter().map(manifest).collect();
    Ok(documents?.iter().map(|document| format!("---\n{}\n", document.trim_end())).collect())
}
