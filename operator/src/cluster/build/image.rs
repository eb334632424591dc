//! Which image members run.

use quorate_operator_api::ClusterSpec;

/// The members' image: what the specification says, and for what it leaves open, what members run
/// already, or else the operator's default.
#[must_use]
pub fn of_member(spec: &ClusterSpec, default: &str, running: Option<&str>) -> String {
    let image = &spec.image;
    let is_open = image.repository.is_none() && image.digest.is_none() && spec.version.is_none();
    if is_open {
        return running.unwrap_or(default).to_owned();
    }
    let (default_repository, default_tag) = split(default);
    let repository = image.repository.as_deref().unwrap_or(default_repository);
    if let Some(digest) = &image.digest {
        return format!("{repository}@{digest}");
    }
    let tag = spec.version.as_deref().or(default_tag).unwrap_or(env!("CARGO_PKG_VERSION"));
    format!("{repository}:{tag}")
}

/// Repository and tag. A registry's port is no tag; what follows a digest's `@` is none either.
fn split(image: &str) -> (&str, Option<&str>) {
    if let Some((repository, _)) = image.split_once('@') {
        return (split(repository).0, None);
    }
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (image, None),
    }
}

#[cfg(test)]
mod tests {
    use quorate_operator_api::{ClusterSpec, Image};

    use super::of_member;

    fn spec(version: Option<&str>, repository: Option<&str>, digest: Option<&str>) -> ClusterSpec {
        let image = Image {
            repository: repository.map(str::to_owned),
            digest: digest.map(str::to_owned),
            ..Image::default()
        };
        ClusterSpec { version: version.map(str::to_owned), image, ..ClusterSpec::default() }
    }

    #[test]
    fn what_is_said_counts_and_what_is_not_stays() {
        let default = "host:5000/quorate:0.2.0";
        let open = spec(None, None, None);
        assert_eq!(of_member(&open, default, None), default);
        assert_eq!(of_member(&open, default, Some("quorate:0.1.0")), "quorate:0.1.0");
        let versioned = spec(Some("0.3.1"), None, None);
        assert_eq!(
            of_member(&versioned, default, Some("quorate:0.1.0")),
            "host:5000/quorate:0.3.1"
        );
        assert_eq!(of_member(&versioned, "host:5000/quorate", None), "host:5000/quorate:0.3.1");
        let elsewhere = spec(None, Some("mirror/q"), None);
        assert_eq!(of_member(&elsewhere, default, None), "mirror/q:0.2.0");
        let pinned = spec(Some("0.3.1"), Some("mirror/q"), Some("sha256:00"));
        assert_eq!(of_member(&pinned, default, None), "mirror/q@sha256:00");
        let by_digest = spec(Some("0.3.1"), None, None);
        assert_eq!(of_member(&by_digest, "a/q:1@sha256:00", None), "a/q:0.3.1");
    }
}
