//! What the crate promises about bytes, texts and generated code.

mod generated;
