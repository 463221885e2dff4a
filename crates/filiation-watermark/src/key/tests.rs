use super::*;

const KGW: &str = r#"
scheme = "kgw@lm-watermarking"
seeding = "selfhash"
key = 15485863
gamma = 0.25
vocabulary = 32000
device = "cpu"
"#;

fn said(text: &str) -> String {
    let built = KeyFile::parse(text).and_then(|file| file.scheme().map(|_| ()));
    built.expect_err(text).to_string()
}

#[test]
fn every_scheme_builds() {
    let extra = "key = \"0x1234\"\nkeys = [1, 2]\ngamma = 0.25\nwidth = 2\nvocabulary = 1000\n\
                 device = \"cpu\"\n";
    for name in SCHEMES {
        let alpha = if name == "gumbel@sglang" {
            "alpha = 0.5\n"
        } else {
            ""
        };
        let key = if name == "dip@markllm" {
            extra.replace("0x1234", "0x12ab")
        } else {
            extra.into()
        };
        let file = KeyFile::parse(&format!("scheme = \"{name}\"\n{key}{alpha}"));
        let scheme = file
            .and_then(|f| f.scheme())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(scheme.reading().width <= 4, "{name}");
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    for (change, to, wanted) in [
        ("device = \"cpu\"", "", "`device` is missing"),
        ("\"cpu\"", "\"cuda\"", "`device` is `cuda`"),
        ("vocabulary = 32000", "", "`vocabulary` is missing"),
        ("gamma = 0.25", "gamma = 1.5", "`gamma` is 1.5"),
        ("key = 15485863", "", "`key` is missing"),
        ("key = 15485863", "key = \"zz\"", "`key` is not one"),
        ("selfhash", "ff-nothing-4-False", "`seeding` is"),
        ("kgw@lm-watermarking", "kgw", "scheme `kgw`"),
        ("gamma", "gama", "unknown field"),
    ] {
        let said = said(&KGW.replace(change, to));
        assert!(said.contains(wanted), "{to}: {said}");
        assert!(!said.contains("15485863"), "{said}");
    }
}

#[test]
fn a_commitment_holds_every_part() {
    let file = KeyFile::parse(KGW).expect("a key file");
    assert_eq!(
        file.commitment(),
        KeyFile::parse(KGW).expect("again").commitment()
    );
    for (from, to) in [
        ("0.25", "0.5"),
        ("15485863", "15485867"),
        ("\"cpu\"", "\"cpu\"\nsalt = \"x\""),
    ] {
        let other = KeyFile::parse(&KGW.replace(from, to)).expect("a key file");
        assert_ne!(file.commitment(), other.commitment(), "{to}");
    }
}
