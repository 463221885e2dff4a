//! Reading the files beside this one.

use serde_json::Value;

/// A value of a golden file.
pub(crate) struct Golden(Value);

impl Golden {
    pub(crate) fn read(name: &str) -> Self {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
        let file = folder.join(format!("{name}.json"));
        let text = std::fs::read_to_string(file).expect("a golden file");
        Self(serde_json::from_str(&text).expect("JSON"))
    }

    pub(crate) fn at(&self, key: &str) -> Self {
        let value = self.0.get(key);
        Self(value.unwrap_or_else(|| panic!("no `{key}`")).clone())
    }

    pub(crate) fn entries(&self) -> Vec<(&str, Self)> {
        let object = self.0.as_object().expect("an object");
        object
            .iter()
            .map(|(key, value)| (key.as_str(), Self(value.clone())))
            .collect()
    }

    pub(crate) fn list(&self, key: &str) -> Vec<Self> {
        let list = self.at(key);
        let array = list.0.as_array().expect("an array");
        array.iter().cloned().map(Self).collect()
    }

    pub(crate) fn elements(&self) -> Vec<Self> {
        let array = self.0.as_array().expect("an array");
        array.iter().cloned().map(Self).collect()
    }

    pub(crate) fn as_ids(&self) -> Vec<u32> {
        serde_json::from_value(self.0.clone()).expect("ids")
    }

    pub(crate) fn ids(&self, key: &str) -> Vec<u32> {
        self.at(key).as_ids()
    }

    pub(crate) fn text(&self, key: &str) -> String {
        serde_json::from_value(self.at(key).0).expect("a text")
    }

    pub(crate) fn number(&self) -> f64 {
        self.0.as_f64().expect("a number")
    }
}

pub(crate) fn close(got: f64, want: f64, slack: f64, of: &str) {
    let off = (got - want).abs() / want.abs().max(1e-300);
    assert!(
        off <= slack,
        "{of}: got {got:e}, want {want:e}, off by {off:e}"
    );
}
