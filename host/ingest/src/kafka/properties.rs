//! librdkafka properties as people write them. Their values may be secrets: they never get into `Debug`, logs
//! or errors.

use std::collections::BTreeMap;
use std::fmt;

use lakemill_model::Secrets;
use rdkafka::ClientConfig;

/// Properties for the client, by librdkafka's names (its CONFIGURATION.md): `security.protocol`,
/// `sasl.mechanism`, `ssl.ca.location`, ...
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties {
    values: BTreeMap<String, String>,
    /// Parts of values that are secret whatever the property is called.
    secrets: Secrets,
}

/// Parts of names whose values are secret.
const SECRET: [&str; 7] = ["password", "secret", "token", "oauthbearer.config", "key.pem", "jaas", "assertion"];

impl Properties {
    /// The value of a property, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// With parts of values that are not to be shown either.
    #[must_use]
    pub fn hiding(self, secrets: Secrets) -> Self {
        Self { secrets, ..self }
    }

    /// Sets them in `config`, over what is there. `owned` names properties that are not to be set, with the
    /// reason.
    ///
    /// # Errors
    /// Words for a person if one is owned, or needs what this build has not.
    pub(crate) fn apply(&self, config: &mut ClientConfig, owned: &[(&str, &str)]) -> Result<(), String> {
        for (name, value) in &self.values {
            if let Some((_, reason)) = owned.iter().find(|(owned, _)| owned == name) {
                return Err(format!("property `{name}` is not yours to set: {reason}"));
            }
            if matches!(name.as_str(), "sasl.mechanism" | "sasl.mechanisms")
                && value.eq_ignore_ascii_case("OAUTHBEARER")
            {
                return Err(format!(
                    "property `{name}`: OAUTHBEARER isn't supported; use SCRAM-SHA-512, PLAIN or TLS certificates"
                ));
            }
            if name.contains('\0') || value.contains('\0') {
                return Err(format!(
                    "property `{}` has a byte 0 in it, which no property can have",
                    name.replace('\0', "\\0")
                ));
            }
            config.set(name, value);
        }
        Ok(())
    }

    /// `text` without the values of secret properties.
    pub(crate) fn redact(&self, text: &str) -> String {
        let secret = |name: &str| SECRET.iter().any(|part| name.contains(part));
        let secrets = self.values.iter().filter(|(name, value)| secret(name) && !value.is_empty());
        let text = self.secrets.hide(text).into_owned();
        secrets.fold(text, |text, (_, value)| text.replace(value.as_str(), "***"))
    }
}

impl FromIterator<(String, String)> for Properties {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(iter: I) -> Self {
        Self { values: iter.into_iter().collect(), secrets: Secrets::default() }
    }
}

impl From<BTreeMap<String, String>> for Properties {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self { values: map, secrets: Secrets::default() }
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.values.keys().map(|name| (name, format_args!("***")))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(list: &[(&str, &str)]) -> Properties {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_are_never_shown() {
        let properties = properties(&[("sasl.password", "hunter2"), ("sasl.username", "bob")]);
        assert_eq!(format!("{properties:?}"), r#"{"sasl.password": ***, "sasl.username": ***}"#);
        assert_eq!(properties.redact("bob's hunter2 is wrong"), "bob's *** is wrong");
        let mut secrets = Secrets::default();
        secrets.add("bob", "${env:WHO}");
        let properties = properties.hiding(secrets);
        assert_eq!(properties.redact("'bob' with hunter2 is wrong"), "'${env:WHO}' with *** is wrong");
    }

    #[test]
    fn owned_and_unsupported_properties_are_refused() {
        let mut config = ClientConfig::new();
        let owned = [("enable.auto.commit", "the tables keep the positions")];
        let refused = properties(&[("enable.auto.commit", "true")]).apply(&mut config, &owned);
        assert_eq!(
            refused.expect_err("owned"),
            "property `enable.auto.commit` is not yours to set: the tables keep the positions"
        );
        assert!(properties(&[("sasl.mechanism", "oauthbearer")]).apply(&mut config, &owned).is_err());
        assert!(properties(&[("ssl.ca.location", "a\0b")]).apply(&mut config, &owned).is_err());
        properties(&[("ssl.ca.location", "/ca.pem")]).apply(&mut config, &owned).expect("free to set");
        assert_eq!(config.get("ssl.ca.location"), Some("/ca.pem"));
    }
}
