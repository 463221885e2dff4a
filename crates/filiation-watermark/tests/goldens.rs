//! Every value in `goldens/`, which reference implementations gave, exactly.

#[path = "goldens/read.rs"]
mod read;

use filiation_core::Mark;
use filiation_watermark::rng::{Mersenne, randperm};
use filiation_watermark::scheme::{
    Adfp, Kgw, MarkLlmDip, MarkLlmExp, MarkLlmKgw, Prf, SgLang, SynthId, SynthIdHash, TextSeal,
    ThreeBricks, Unigram, VLlm,
};
use filiation_watermark::{Dedup, Detection, KeyFile, Marker, Scheme, Units, scores};
use read::{Golden, close};
use sha2::{Digest, Sha256};

/// Units of one text by rule `dedup`, and the test of them.
fn detect(scheme: &dyn Scheme, dedup: Dedup, prompt: &[u32], ids: &[u32]) -> Detection {
    let mut units = Units::with(scheme, dedup);
    units.add(prompt, ids).expect("ids of the vocabulary");
    Detection::of(scheme, &units).expect("a text longer than a window")
}

#[test]
fn torch_generator() {
    let golden = Golden::read("core");
    for of in golden.list("torch_cpu") {
        let seed = of.text("seed").parse().expect("a number of 64 bits");
        let mut rng = Mersenne::new(seed);
        for want in of.list("u32") {
            assert_eq!(f64::from(rng.next_u32()), want.number(), "{seed}");
        }
        assert_eq!(randperm(seed, 50_257, 8), of.ids("randperm50257_first8"));
        let mut rng = Mersenne::new(seed);
        for want in of.list("rand_first8") {
            assert_eq!(f64::from(rng.next_f32()), want.number(), "{seed}");
        }
        let mut rng = Mersenne::new(seed);
        for want in of.ids("randint2_first16") {
            assert_eq!(rng.next_u32() % 2, want, "{seed}");
        }
    }
}

fn lm_watermarking(name: &str) -> Kgw {
    let (prf, width, salted) = match name {
        "simple_1" => (Prf::Additive, 1, false),
        "minhash" => (Prf::MinHash, 4, false),
        "selfhash" => (Prf::AnchoredMinHash, 4, true),
        "skipgram" => (Prf::Skipgram, 5, false),
        "ff-additive_prf-4-False" => (Prf::Additive, 4, false),
        "ff-multiplicative_prf-3-False" => (Prf::Multiplicative, 3, false),
        "ff-position_prf-4-False" => (Prf::Position, 4, false),
        "ff-anchored_skipgram_prf-4-False" => (Prf::AnchoredSkipgram, 4, false),
        "ff-noncomm_prf-4-False" => (Prf::NonCommutative, 4, false),
        other => panic!("no such seeding: {other}"),
    };
    Kgw::lm_watermarking(prf, width, salted, 15_485_863, 32_000, 0.25)
}

#[test]
fn kgw_lists() {
    let golden = Golden::read("kgw");
    for (name, of) in golden.entries() {
        let scheme = lm_watermarking(name);
        let context = of.ids("ctx");
        let salted = usize::from(name == "selfhash");
        let window = &context[context.len() - scheme.reading().width - salted..];
        let mut list = scheme.green_list(window);
        assert_eq!(list[..8], of.ids("green_first8"), "{name}");
        list.sort_unstable();
        let bytes: Vec<u8> = list.iter().flat_map(|t| t.to_le_bytes()).collect();
        let hash: String = Sha256::digest(bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(hash, of.text("green_sha256"), "{name}");
        // Membership without the list.
        let tokens: Vec<u32> = (0..200).collect();
        if salted == 0 {
            for (token, score) in tokens.iter().zip(scheme.scores(window, &tokens)) {
                assert_eq!(
                    score == 1.0,
                    list.binary_search(token).is_ok(),
                    "{name} {token}"
                );
            }
        }
    }
}

#[test]
fn kgw_detections() {
    let golden = Golden::read("core");
    let lm = golden.at("lm_watermarking_extended");
    let ids = lm.ids("ids");
    let both = |name: &str, of: &Golden, scheme: &dyn Scheme| {
        for (ignore, dedup) in [("True", Dedup::WindowToken), ("False", Dedup::None)] {
            let want = of.at(&format!("{name}|ignore={ignore}"));
            let got = detect(scheme, dedup, &[], &ids);
            let found = (got.scored as f64, got.sum);
            assert_eq!(
                found,
                (want.at("n").number(), want.at("green").number()),
                "{name} {ignore}"
            );
        }
    };
    for name in ["simple_1", "minhash", "selfhash", "skipgram"] {
        both(name, &lm.at("res"), &lm_watermarking(name));
    }
    let hf = golden.at("hf_5_23").at("res");
    both(
        "lefthash1",
        &hf,
        &Kgw::transformers_lefthash(1, 15_485_863, 32_000, 0.25),
    );
    both(
        "selfhash4",
        &hf,
        &Kgw::transformers_selfhash(4, 15_485_863, 32_000, 0.25),
    );
}

#[test]
fn three_bricks() {
    let golden = Golden::read("three_bricks");
    let ids = golden.ids("ids");
    for (name, want) in golden.at("res").entries() {
        let parts: Vec<&str> = name.split('-').collect();
        let width = parts[1].parse().expect("a width");
        let dedup = match parts[2] {
            "none" => Dedup::None,
            "v1" => Dedup::Window,
            _ => Dedup::WindowToken,
        };
        let scheme = match parts[0] {
            "maryland" => ThreeBricks::maryland(3, width, 32_000, 0.25),
            _ => ThreeBricks::openai(3, width, 32_000),
        };
        let got = detect(&scheme, dedup, &[], &ids);
        assert_eq!(got.scored as f64, want.at("n").number(), "{name}");
        // The reference adds in single precision.
        close(got.sum, want.at("S").number(), 1e-6, name);
        close(10_f64.powf(got.log10_p), want.at("p").number(), 1e-5, name);
    }
}

#[test]
fn unigram_list() {
    let golden = Golden::read("unigram");
    let scheme = Unigram::new(0, 50_257, 0.5);
    let bytes: Vec<u8> = scheme.mask().iter().map(|green| u8::from(*green)).collect();
    let first: Vec<u32> = bytes[..64].iter().map(|b| u32::from(*b)).collect();
    assert_eq!(first, golden.ids("first64"));
    let hash: String = Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(hash, golden.text("sha256_of_bytes"));
}

#[test]
fn synthid_bits() {
    let bits = |scheme: &SynthId, ids: &[u32], want: &[Golden]| {
        let width = scheme.reading().width;
        assert_eq!(want.len(), ids.len() - width);
        for (i, want) in want.iter().enumerate() {
            let got: Vec<u32> = scheme
                .bits(&ids[i..i + width], ids[i + width])
                .map(u32::from)
                .collect();
            assert_eq!(got, want.as_ids(), "position {i}");
        }
    };
    let golden = Golden::read("synthid");
    let keys: Vec<u64> = golden.ids("keys").into_iter().map(u64::from).collect();
    let ids = golden.ids("ids");
    let steps = SynthId::new(SynthIdHash::Steps, keys.clone(), 5);
    bits(&steps, &ids, &golden.list("g_head"));
    let table = SynthId::new(SynthIdHash::Table, keys, 5);
    bits(&table, &ids, &golden.list("g_pypi_021_and_hf"));
    let golden = Golden::read("synthid_hf");
    let keys = golden.ids("keys").into_iter().map(u64::from).collect();
    let table = SynthId::new(SynthIdHash::Table, keys, 5);
    bits(&table, &golden.ids("ids"), &golden.list("g"));
}

#[test]
fn serving_engines() {
    let golden = Golden::read("serving");
    let ids = golden.ids("ids");
    let of = golden.at("vllm");
    let scheme = VLlm::new(0x0123_4567_89ab_cdef, 4);
    let got = detect(&scheme, Dedup::Window, &[], &ids);
    assert_eq!(got.scored as f64, of.at("n").number());
    close(got.sum, of.at("score").number(), 1e-12, "vllm");
    close(10_f64.powf(got.log10_p), of.at("p").number(), 1e-10, "vllm");
    let first = scheme.scores(&[u32::MAX; 4], &ids[..1]);
    close(1.0 - (-first[0]).exp(), of.at("u0").number(), 1e-12, "vllm");

    let of = golden.at("vllm_dual");
    let scheme = VLlm::dual(42, 0.1, 4);
    let got = detect(&scheme, Dedup::Window, &[], &ids);
    close(got.sum, of.at("score").number(), 1e-12, "vllm dual");
    // The engine's p is that of a gamma with the same two moments; near the middle the two agree.
    let off = (10_f64.powf(got.log10_p) - of.at("p").number()).abs();
    assert!(off < 2e-3, "{off}");

    let of = golden.at("sglang");
    let scheme = SgLang::new(0x0123_4567_89ab_cdef, 4);
    let got = detect(&scheme, Dedup::Window, &[], &ids);
    assert_eq!(got.scored as f64, of.at("n").number());
    close(got.sum, of.at("score").number(), 1e-12, "sglang");
    close(
        got.log10_p,
        of.at("logp").number() / std::f64::consts::LN_10,
        1e-10,
        "sglang",
    );

    let of = golden.at("sglang_dual");
    let scheme = SgLang::dual(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, 0.5, 4);
    let got = detect(&scheme, Dedup::Window, &of.ids("prompt"), &ids);
    assert_eq!(got.scored as f64, of.at("n").number());
    close(got.sum, of.at("score").number(), 1e-12, "sglang dual");
}

#[test]
fn markllm() {
    let golden = Golden::read("markllm");
    let (ids, want) = (golden.ids("ids"), golden.at("res"));
    let kgw = MarkLlmKgw::new(15_485_863, 1, 5000, 0.5);
    let got = detect(&kgw, Dedup::None, &[], &ids);
    let n = got.scored as f64;
    let z = (got.sum - 0.5 * n) / (0.25 * n).sqrt();
    close(z, want.at("KGW").number(), 1e-12, "KGW");

    let unigram = Unigram::new(15_485_863, 5000, 0.5);
    let got = detect(&unigram, Dedup::None, &[], &ids);
    let n = got.scored as f64;
    let z = (got.sum - 0.5 * n) / (0.25 * n).sqrt();
    close(z, want.at("Unigram").number(), 1e-12, "Unigram");

    let exp = MarkLlmExp::new(15_485_863, 4, 5000);
    let got = detect(&exp, Dedup::None, &[], &ids);
    close(
        10_f64.powf(got.log10_p),
        want.at("EXP").number(),
        1e-5,
        "EXP",
    );

    let of = want.at("DIP");
    let hex = of.text("key_hex");
    let byte = |i| u8::from_str_radix(&hex[i..i + 2], 16).expect("two digits");
    let key = (0..hex.len()).step_by(2).map(byte).collect();
    let dip = MarkLlmDip::new(key, 5, 5000, 0.5);
    let mut units = Units::with(&dip, Dedup::Window);
    units.add(&[], &ids).expect("ids of the vocabulary");
    let green: f64 = scores(&dip, units.as_slice()).iter().sum();
    // The reference counts the position before the first window among those scored.
    let n = units.as_slice().len() as f64 + 1.0;
    close(
        (green - 0.5 * n) / n.sqrt(),
        of.at("score").number(),
        1e-7, // the reference counts in single precision
        "DIP",
    );
}

#[test]
fn textseal_hash() {
    let golden = Golden::read("textseal");
    let key = golden.at("sk").number() as i64;
    let tokens = golden.ids("X");
    for (i, want) in golden.ids("h").into_iter().enumerate() {
        let window = golden.list("W")[i].as_ids();
        let scheme = TextSeal::gumbel(key, window.len(), 152_000);
        let got = scheme.scores(&window, &tokens[i..=i])[0];
        let u = f64::from(want as f32 / 8191.0);
        assert_eq!(got, -(-u).ln_1p(), "{i}");
    }
}

#[test]
fn adfp_mask() {
    let golden = Golden::read("adfp");
    let seed = i64::from_str_radix(&golden.text("seed")[2..], 16).expect("a number in hex");
    let scheme = Adfp::new(seed, 64, 0.5);
    let tokens: Vec<u32> = (0..64).collect();
    let got: Vec<u32> = scheme
        .scores(&golden.ids("bigram"), &tokens)
        .iter()
        .map(|s| *s as u32)
        .collect();
    assert_eq!(got, golden.ids("first64"));
}

/// The steps of an answer: logits before, the tokens taken.
fn steps(of: &Golden, prompt: &Golden) -> (Vec<Vec<f32>>, Vec<u32>) {
    let rows = of.list("logits");
    let row = |row: &Golden| row.elements().iter().map(|x| x.number() as f32).collect();
    (rows.iter().map(row).collect(), prompt.ids("ids"))
}

#[test]
fn transformers_marks() {
    let golden = Golden::read("marking");
    for (name, seeding, width) in [("lefthash", "lefthash", 1), ("selfhash", "selfhash", 4)] {
        let of = golden.at(name);
        let text = format!(
            "scheme = \"kgw@transformers\"\nseeding = \"{seeding}\"\nkey = 15485863\n\
             gamma = 0.25\nwidth = {width}\nvocabulary = 60\ndevice = \"cpu\"\ndelta = 2.0\n"
        );
        let marker = KeyFile::parse(&text)
            .and_then(|k| k.marker())
            .expect("it marks");
        let mut marking = marker.begin(&of.ids("prompt"), 1);
        let (logits, ids) = steps(&golden, &of);
        for ((mut logits, id), raised) in logits.into_iter().zip(ids).zip(of.list("raised")) {
            let before = logits.clone();
            marking.shift(&mut logits);
            assert_eq!(before, logits, "the bias comes after temperature");
            let mut weights: Vec<f64> = logits.iter().map(|l| f64::from(*l).exp()).collect();
            assert_eq!(marking.weigh(&mut weights), None);
            let up = (0..60).filter(|&i| {
                let factor = weights[i] / f64::from(before[i]).exp();
                assert!((factor - 1.0).abs() < 1e-9 || (factor - 2_f64.exp()).abs() < 1e-9);
                factor > 2.0
            });
            let want: Vec<usize> = raised
                .elements()
                .iter()
                .map(|x| x.number() as usize)
                .collect();
            assert_eq!(up.collect::<Vec<_>>(), want, "{name}");
            marking.took(id);
        }
    }
}

#[test]
fn synthid_marks() {
    let golden = Golden::read("marking");
    let of = golden.at("synthid");
    let scheme = SynthId::new(
        SynthIdHash::Table,
        of.ids("keys").into_iter().map(u64::from).collect(),
        3,
    );
    let marker = Marker::new(Box::new(scheme), 0.0);
    let mut marking = marker.begin(&of.ids("prompt"), 1);
    let (logits, ids) = steps(&golden, &of);
    for ((mut logits, id), want) in logits.into_iter().zip(ids).zip(of.list("weights")) {
        marking.shift(&mut logits);
        let mut weights: Vec<f64> = logits.iter().map(|l| f64::from(*l).exp()).collect();
        assert_eq!(marking.weigh(&mut weights), None);
        let total: f64 = weights.iter().sum();
        for (got, want) in weights.iter().zip(want.elements()) {
            // The reference computes in single precision.
            assert!(
                (got / total - want.number()).abs() < 3e-6,
                "{got}, {}",
                want.number()
            );
        }
        marking.took(id);
    }
}
