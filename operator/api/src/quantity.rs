//! Amounts of storage as Kubernetes writes them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An amount of bytes, such as `10Gi` or `500M`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Size(
    #[schemars(
        length(min = 1, max = 24),
        regex(pattern = r"^[0-9]{1,15}(\.[0-9]{1,6})?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$")
    )]
    pub String,
);

impl Size {
    /// In bytes, rounded down; `None` if it is no amount, or more than 2⁶⁴ bytes.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let end = self.0.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(self.0.len());
        let (number, unit) = self.0.split_at(end);
        let factor: u128 = match unit {
            "" => 1,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "P" => 1_000_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            "Pi" => 1 << 50,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_number =
            |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(fraction) || fraction.len() > 18 {
            return None;
        }
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        let parts = fraction.parse::<u128>().ok()?.checked_mul(factor)? / scale;
        let bytes = whole.parse::<u128>().ok()?.checked_mul(factor)?.checked_add(parts)?;
        u64::try_from(bytes).ok()
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        let bytes = |text: &str| Size(text.to_owned()).bytes();
        for (text, expected) in [
            ("0", 0),
            ("17", 17),
            ("10Gi", 10 << 30),
            ("1.5Gi", 3 << 29),
            ("500M", 500_000_000),
            ("2k", 2_000),
            ("0.000001M", 1),
            ("1Ki", 1024),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for wrong in ["", "Gi", "1.Gi", ".5Gi", "-1Gi", "1 Gi", "1gi", "1e3", "20000Pi"] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }
}
