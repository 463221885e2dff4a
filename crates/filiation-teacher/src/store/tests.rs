use std::collections::BTreeMap;
use std::fs;

use super::exchange::Draft;
use super::*;
use crate::Usage;

fn draft(n: u64, kind: Kind, request: &[u8], response: Option<&[u8]>) -> Draft {
    let digest = Digest::of(request);
    let url = "https://example.org/v1/chat/completions";
    Draft {
        key: Key::of("openai-chat", url, digest, n, ""),
        kind,
        endpoint: Digest::of(b"endpoint"),
        provider: "openai".into(),
        dialect: "openai-chat".into(),
        method: "POST".into(),
        url: url.into(),
        model_asked: "m".into(),
        model_returned: Some("m-1".into()),
        fingerprint: None,
        request: digest,
        response: response.map(Digest::of),
        status: Some(200),
        headers: BTreeMap::new(),
        began: 1_000 + n,
        ended: Some(2_000 + n),
        attempt: 1,
        sample: n.to_string(),
        epoch: String::new(),
        usage: Some(Usage {
            input: 3,
            output: 5,
            reasoning: 0,
        }),
        note: None,
        redacted: false,
        version: "0".into(),
    }
}

fn put(store: &Store, n: u64, kind: Kind, response: &[u8]) -> Exchange {
    let request = format!("{{\"n\":{}}}", n / 2);
    let draft = draft(n, kind, request.as_bytes(), Some(response));
    let writer = store.writer().expect("opened to record");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let put = writer.put(draft, request.into_bytes(), Some(response.to_vec()));
    runtime.block_on(put).expect("writes")
}

fn filled(root: &Path) -> Vec<Exchange> {
    let store = Store::record(root).expect("opens");
    (0..10)
        .map(|n| put(&store, n, Kind::Answer, format!("answer {n}").as_bytes()))
        .collect()
}

#[test]
fn bytes_come_back_and_the_chain_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = filled(folder.path());
    let store = Store::read(folder.path()).expect("opens");
    for (n, exchange) in written.iter().enumerate() {
        let (found, bytes) = store.find(&exchange.key).expect("reads").expect("there");
        assert_eq!(&found, exchange);
        assert_eq!(bytes, format!("answer {n}").as_bytes());
    }
    let verified = store.verify().expect("reads");
    assert_eq!(verified.problems, Vec::<String>::new());
    // Two samples of each request share its bytes.
    assert_eq!((verified.rows, verified.objects), (10, 15));
    assert_eq!(verified.head, Some(written[9].digest()));
    assert_eq!(store.exchanges(None).expect("reads"), written);
    let summary = store.summary().expect("reads");
    assert_eq!((summary[0].answers, summary[0].output_tokens), (10, 50));
    assert_eq!(summary[0].returned, ["m-1"]);
}

#[test]
fn the_first_answer_to_a_question_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::record(folder.path()).expect("opens");
    put(&store, 0, Kind::Fault, b"busy");
    let first = put(&store, 0, Kind::Answer, b"one");
    assert_eq!(put(&store, 0, Kind::Answer, b"two"), first);
    put(&store, 0, Kind::Fault, b"busy");
    assert_eq!(
        store.find(&first.key).expect("reads").expect("there").1,
        b"one"
    );
    assert_eq!(store.exchanges(None).expect("reads").len(), 3);
}

#[test]
fn one_process_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let held = Store::record(folder.path()).expect("opens");
    assert!(matches!(
        Store::record(folder.path()),
        Err(TeacherError::InUse { .. })
    ));
    assert!(matches!(
        Store::sweep(folder.path()),
        Err(TeacherError::InUse { .. })
    ));
    Store::read(folder.path()).expect("others read");
    drop(held);
    Store::record(folder.path()).expect("opens again");
}

#[test]
fn what_was_changed_is_told() {
    let change = |what: &dyn Fn(&Path, &[Exchange])| {
        let folder = tempfile::tempdir().expect("a folder");
        let written = filled(folder.path());
        what(folder.path(), &written);
        let store = Store::read(folder.path()).expect("opens");
        store.verify().expect("reads").problems.join("\n")
    };
    let sql = |root: &Path, text: &str| {
        let connection = Connection::open(root.join(index::FILE)).expect("opens");
        connection.execute_batch(text).expect("changes");
    };
    let edited = change(&|root, _| {
        sql(
            root,
            "UPDATE exchange SET record = CAST(replace(CAST(record AS TEXT), 'm-1', 'm-2') \
                   AS BLOB) WHERE seq = 4",
        );
    });
    assert!(edited.contains("row 4: it was changed"), "{edited}");
    assert!(edited.contains("row 5: it does not follow"), "{edited}");
    let removed = change(&|root, _| sql(root, "DELETE FROM exchange WHERE seq = 4"));
    assert!(removed.contains("row 5: it does not follow"), "{removed}");
    let moved = change(&|root, _| sql(root, "UPDATE exchange SET kind = 'fault' WHERE seq = 4"));
    assert!(moved.contains("row 4: its columns"), "{moved}");
    let forged = change(&|root, written| {
        let path = objects::place(root, &written[3].response.expect("one"));
        fs::write(
            path,
            zstd::bulk::compress(b"forged", 3).expect("compresses"),
        )
        .expect("writes");
    });
    assert!(forged.contains("holds bytes of digest"), "{forged}");
    let torn = change(&|root, written| {
        let path = objects::place(root, &written[3].response.expect("one"));
        let bytes = fs::read(&path).expect("reads");
        fs::write(path, &bytes[..bytes.len() / 2]).expect("tears");
    });
    assert!(torn.contains("row 4:"), "{torn}");
    let lost = change(&|root, written| {
        fs::remove_file(objects::place(root, &written[3].request)).expect("removes");
    });
    assert!(lost.contains("cannot read"), "{lost}");
}

#[test]
fn what_was_on_the_way_when_a_process_ended_has_a_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let (arrived, lost) = {
        let store = Store::record(folder.path()).expect("opens");
        let writer = store.writer().expect("records");
        let lost = draft(7, Kind::Fault, b"{\"n\":3}", None);
        let arrived = draft(0, Kind::Fault, b"{\"n\":0}", None);
        writer.flight().depart(&arrived).expect("writes");
        writer.flight().depart(&lost).expect("writes");
        let exchange = put(&store, 0, Kind::Answer, b"answer");
        (exchange, lost)
    };
    // A line that a kill cut short.
    let path = folder.path().join("in-flight");
    let mut bytes = fs::read(&path).expect("reads");
    bytes.extend_from_slice(&bytes.clone()[..40]);
    fs::write(&path, bytes).expect("tears");
    let store = Store::record(folder.path()).expect("opens again");
    let rows = store.exchanges(None).expect("reads");
    let kinds: Vec<_> = rows.iter().map(|r| (r.key, r.kind)).collect();
    assert_eq!(
        kinds,
        [(arrived.key, Kind::Answer), (lost.key, Kind::Interrupted)]
    );
    assert_eq!(store.find(&lost.key).expect("reads"), None);
    assert_eq!(
        store.verify().expect("reads").problems,
        Vec::<String>::new()
    );
}

#[test]
fn sweeping_takes_what_no_row_names_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let written = filled(folder.path());
    let orphan = Digest::of(b"orphan");
    objects::put(folder.path(), &orphan, b"orphan").expect("writes");
    let torn = objects::place(folder.path(), &Digest::of(b"torn")).with_extension("tmp");
    fs::create_dir_all(torn.parent().expect("a folder")).expect("makes");
    fs::write(&torn, b"half").expect("writes");
    assert_eq!(Store::sweep(folder.path()).expect("sweeps").files, 2);
    assert_eq!(
        Store::sweep(folder.path()).expect("sweeps"),
        Sweep::default()
    );
    let store = Store::read(folder.path()).expect("opens");
    assert_eq!(
        store.verify().expect("reads").problems,
        Vec::<String>::new()
    );
    assert!(store.find(&written[0].key).expect("reads").is_some());
}
