//! Builds the scheme from its settings, and reports their problems.

use portcullis_plugin::{Place, http::HeaderName};

use super::{TimeHeader, Timestamp, config::TimestampConfig, field::Part, layout::Layout, signature::SignatureHeader};
use crate::{key::Algorithm, problems::Problems, scheme::Scheme};

impl TimestampConfig {
    /// Builds the scheme; `None` if something is wrong, which is then in `problems`, each with its field relative to
    /// this table.
    pub(crate) fn build(self, problems: &mut Problems) -> Option<Box<dyn Scheme>> {
        let before = problems.len();
        let config = self.with_preset();
        let layout = Layout::new(&config, problems);
        let signature = config.signature(problems);
        let time = config.time(&layout, problems);
        let key_id = config.key_id(problems);
        let id = config.id(&layout, problems);
        if layout.has(Part::KeyId) && key_id.is_none() {
            problems.push(("layout".to_owned(), "has `key-id`, which needs `key_id_header`".to_owned()));
        }
        let secret_prefix = config.secret_prefix.clone();
        let signature = signature.filter(|_| problems.len() == before)?;
        Some(Box::new(Timestamp { signature, time, key_id, id, layout, secret_prefix }))
    }

    /// Fills settings that are left out with those of the preset.
    fn with_preset(self) -> Self {
        let Some(preset) = self.preset else { return self };
        let base = preset.settings();
        Self {
            preset: self.preset,
            signature_header: self.signature_header.or(base.signature_header),
            signature_prefix: self.signature_prefix.or(base.signature_prefix),
            signature_separator: self.signature_separator.or(base.signature_separator),
            signature_encoding: self.signature_encoding.or(base.signature_encoding),
            algorithm: self.algorithm.or(base.algorithm),
            timestamp_header: self.timestamp_header.or(base.timestamp_header),
            timestamp_prefix: self.timestamp_prefix.or(base.timestamp_prefix),
            key_id_header: self.key_id_header.or(base.key_id_header),
            id_header: self.id_header.or(base.id_header),
            layout: self.layout.or(base.layout),
            separator: self.separator.or(base.separator),
            body_hash_prefix: self.body_hash_prefix.or(base.body_hash_prefix),
            secret_prefix: self.secret_prefix.or(base.secret_prefix),
            unsigned: self.unsigned.or(base.unsigned),
        }
    }

    fn signature(&self, problems: &mut Problems) -> Option<SignatureHeader> {
        let name = self.signature_name();
        if let Err(why) = Place::header(name, None) {
            problems.push(("signature_header".to_owned(), why));
        }
        if self.signature_separator.is_some_and(|char| !(char.is_ascii_graphic() || char == ' ')) {
            problems.push(("signature_separator".to_owned(), "is neither visible ASCII nor a space".to_owned()));
        }
        if self.signature_separator.is_some() && self.signature_prefix.as_deref().is_none_or(str::is_empty) {
            let why = "needs `signature_prefix`: which of several items is a signature could not be told";
            problems.push(("signature_separator".to_owned(), why.to_owned()));
        }
        let algorithm = Algorithm::from(self.algorithm.unwrap_or_default());
        Some(SignatureHeader {
            name: name.parse().ok()?,
            prefix: self.signature_prefix.clone().unwrap_or_else(|| format!("{}=", algorithm.name())),
            separator: self.signature_separator,
            encoding: self.signature_encoding.unwrap_or_default(),
            algorithm,
        })
    }

    fn signature_name(&self) -> &str {
        self.signature_header.as_deref().unwrap_or("x-signature")
    }

    fn time(&self, layout: &Layout, problems: &mut Problems) -> Option<TimeHeader> {
        let mut wrong = |field: &str, why: &str| problems.push((field.to_owned(), why.to_owned()));
        if !layout.has(Part::Timestamp) {
            for (field, value) in
                [("timestamp_header", &self.timestamp_header), ("timestamp_prefix", &self.timestamp_prefix)]
            {
                if value.is_some() {
                    wrong(field, "would not be signed: `layout` has no `timestamp`");
                }
            }
            return None;
        }
        let name = self.timestamp_header.as_deref().unwrap_or("x-timestamp");
        if name.eq_ignore_ascii_case(self.signature_name()) {
            let prefix = self.timestamp_prefix.clone().filter(|prefix| !prefix.is_empty());
            if prefix.is_none() || self.signature_separator.is_none() {
                wrong(
                    "timestamp_header",
                    "is the signature's: that needs `timestamp_prefix` and `signature_separator`",
                );
            }
            return prefix.map(TimeHeader::BesideSignature);
        }
        if self.timestamp_prefix.is_some() {
            wrong("timestamp_prefix", "goes with a time in the signature's own header");
        }
        header("timestamp_header", name, problems).map(TimeHeader::Own)
    }

    fn key_id(&self, problems: &mut Problems) -> Option<HeaderName> {
        let own = self.preset.is_none().then_some("x-key-id");
        self.key_id_header.as_deref().or(own).and_then(|name| header("key_id_header", name, problems))
    }

    fn id(&self, layout: &Layout, problems: &mut Problems) -> Option<HeaderName> {
        match (&self.id_header, layout.has(Part::Id)) {
            (None, false) => None,
            (Some(name), true) => header("id_header", name, problems),
            (Some(_), false) => {
                problems.push(("id_header".to_owned(), "would not be signed: `layout` has no `id`".to_owned()));
                None
            }
            (None, true) => {
                problems.push(("layout".to_owned(), "has `id`, which needs `id_header`".to_owned()));
                None
            }
        }
    }
}

fn header(field: &str, name: &str, problems: &mut Problems) -> Option<HeaderName> {
    let parsed = name.parse().ok();
    if parsed.is_none() {
        problems.push((field.to_owned(), format!("`{}` is not a header name", name.escape_debug())));
    }
    parsed
}
