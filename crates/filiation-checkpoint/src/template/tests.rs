use proptest::prelude::*;

use super::*;

fn message(role: &str, content: &str) -> Message {
    Message {
        role: role.into(),
        content: content.into(),
    }
}

fn template(source: &str) -> ChatTemplate {
    let special = [("bos_token", "<s>"), ("eos_token", "</s>")];
    let special = special.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    ChatTemplate::new(
        Path::new("chat_template.jinja"),
        source,
        special,
        &Limits::default(),
    )
}

fn render(source: &str) -> Result<String, CheckpointError> {
    let turns = [message("system", "Be brief."), message("user", " Hi <b> ")];
    template(source).render(&turns, true)
}

fn rendered(source: &str) -> String {
    render(source).expect("the template is sound")
}

#[test]
fn chatml_renders() {
    let source = "{% for message in messages %}\
        {{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}\
        {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    assert_eq!(
        rendered(source),
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <b> <|im_end|>\n\
         <|im_start|>assistant\n"
    );
    let without = template(source)
        .render(&[message("user", "x")], false)
        .expect("sound");
    assert_eq!(without, "<|im_start|>user\nx<|im_end|>\n");
}

#[test]
fn special_tokens_tools_and_date_are_as_transformers_gives_them() {
    assert_eq!(rendered("{{ bos_token }}{{ eos_token }}"), "<s></s>");
    assert_eq!(
        rendered("{% if tools is not none %}a{% else %}b{% endif %}"),
        "b"
    );
    assert_eq!(
        rendered("{% if strftime_now is defined %}a{% else %}b{% endif %}"),
        "b"
    );
    assert_eq!(
        rendered("{{ none }} {{ true }} {{ 1 == 2 }} {{ missing }}|"),
        "None True False |"
    );
}

#[test]
fn blocks_are_trimmed_as_transformers_does() {
    assert_eq!(
        rendered("a\n   {% if true %}\n b\n   {% endif %}\nc"),
        "a\n b\nc"
    );
}

#[test]
fn generation_tags_print_nothing() {
    let source = "a {%- generation -%} b {% endgeneration %} c{%generation%}d{%endgeneration%}";
    assert_eq!(rendered(source), "ab  cd");
    assert_eq!(
        rendered("{{ 'x' }} {% raw %}{{ y }}{% endraw %}"),
        "x {{ y }}"
    );
}

#[test]
fn python_methods_work() {
    for (source, expected) in [
        ("' a '.strip() ~ '|'", "a|"),
        ("'xxaxx'.strip('x')", "a"),
        ("'\n\na'.lstrip('\n') ~ 'b  '.rstrip() ~ '|'", "ab|"),
        ("'a</think>b</think>c'.split('</think>')[-1]", "c"),
        ("'a,b,c'.split(',', 1)|join('|')", "a|b,c"),
        ("'a,b,c'.rsplit(',', 1)|join('|')", "a,b|c"),
        ("' a  b c '.split()|join('|')", "a|b|c"),
        ("' a  b c '.split(none, 1)|join('|')", "a|b c "),
        ("'a\nb'.splitlines()|join('|')", "a|b"),
        ("'aXb'.replace('X', '--')", "a--b"),
        ("'aXbX'.replace('X', '-', 1)", "a-bX"),
        ("'abc'.startswith('ab') ~ 'abc'.endswith('ab')", "TrueFalse"),
        ("'abc'.startswith(['x', 'a'])", "True"),
        (
            "'aBc'.upper() ~ 'aBc'.lower() ~ 'ab cD'.title() ~ 'ab cD'.capitalize()",
            "ABCabcAb CdAb cd",
        ),
        ("'-'.join(['a', 'b'])", "a-b"),
        ("'éab'.find('b') ~ 'aa'.count('a') ~ 'x'.find('y')", "22-1"),
        ("'abc'.removeprefix('a').removesuffix('c')", "b"),
        (
            "{'a': 1}.get('a') ~ {'a': 1}.get('b', 2) ~ ({'a': 1}.get('b') is none)",
            "12True",
        ),
        ("{'a': 1}.items()|list", "[('a', 1)]"),
        ("{'a': 1}.keys()|list ~ {'a': 1}.values()|list", "['a'][1]"),
        ("messages[0].get('role')", "system"),
        ("'12'.isdigit()", "True"),
    ] {
        let found = rendered(&format!("{{{{ {source} }}}}"));
        assert_eq!(found, expected, "{source}");
    }
    assert!(render("{{ 'a'.format('b') }}").is_err());
    assert!(render("{{ 'a'.split('') }}").is_err());
}

// Expected texts by Python 3's json.dumps(x, ensure_ascii=False[, indent=4]).
#[test]
fn tojson_is_pythons() {
    for (source, expected) in [
        (
            "[1, 2.5, 'é<&>\\'\"\\n', true, none]|tojson",
            r#"[1, 2.5, "é<&>'\"\n", true, null]"#,
        ),
        (
            "messages[0]|tojson",
            r#"{"role": "system", "content": "Be brief."}"#,
        ),
        ("[]|tojson ~ {}|tojson", "[]{}"),
        (
            "[1, {'a': [2]}]|tojson(indent=4)",
            "[\n    1,\n    {\n        \"a\": [\n            2\n        ]\n    }\n]",
        ),
        ("1.0|tojson ~ 'x'|tojson(ensure_ascii=False)", "1.0\"x\""),
    ] {
        assert_eq!(
            rendered(&format!("{{{{ {source} }}}}")),
            expected,
            "{source}"
        );
    }
}

// Rendered by `apply_chat_template` of transformers 5.23, with the same messages.
#[test]
fn idioms_agree_with_transformers() {
    let source = r#"{% for m in messages %}
  {# comment #}
  {%- if loop.index is divisibleby 2 %} even {% endif -%}
  {{ m | tojson }} {{ m.items() | list | length }} {{ m.keys() | join(',') }} {{ m['content'].title() }}
  {{ loop.last }} {{ m.content | length }} {{ m.nope }} {{ [1,2.0,'a',none,true] }} {{ {'a': [1]} }} {{ 7 // 2 }} {{ 7 / 2 }} {{ 2 ** 3 }} {{ 'a' 'b' }}
  {%- break %}
{% endfor %}
{{ messages | map(attribute='role') | join('/') }} {{ (messages | last).role }} {{ messages | rejectattr('role', 'equalto', 'user') | list | length }}
{{ '%s-%d' | format('a', 3) }} {{ "x	y" }} {{ 'a' if false }}|
{%- macro f(a, b=2) %}{{ a }}{{ b }}{% endmacro %}
{{ f(1) }} {{ f(1, b=3) }} {{ 'abc'[1:] }} {{ 'abc'[-1] }} {{ messages[-1]['role'] }} {{ 1 in [1] }} {{ 'a' ~ 1 ~ none ~ true }} {{ "a\nb" }}
{{ messages[0].content.split(' ')[0] }} {{ '' or 'dflt' }} {{ x | default('d') }} {{ 3 | string }} {{ 'Q: ' + 3|string }} {{ 'a,b' .split(',') }} {{ messages|selectattr('role','in',['user'])|list|length }}
"#;
    let expected = r#"{"role": "system", "content": " Be brief. "} 2 role,content  Be Brief. 
  False 11  [1, 2.0, 'a', None, True] {'a': [1]} 3 3.5 8 absystem/user/assistant/user user 2
a-3 x	y |12 13 bc c user True a1NoneTrue a
b
 dflt d 3 Q: 3 ['a', 'b'] 2"#;
    let turns = [
        message("system", " Be brief. "),
        message("user", "Hi \n there"),
        message("assistant", "<think>\nhm\n</think>\n\nyes "),
        message("user", "bye's <b>&"),
    ];
    let found = template(source).render(&turns, true).expect("sound");
    assert_eq!(found, expected);
}

#[test]
fn a_template_that_refuses_is_an_error_with_its_words() {
    let error = render("{{ raise_exception('roles must alternate') }}").expect_err("refuses");
    let text = error.to_string();
    assert!(
        text.contains("`chat_template.jinja`") && text.contains("roles must alternate"),
        "{text}"
    );
}

#[test]
fn a_template_that_does_not_compile_fails_when_rendered() {
    let broken = template("{% if %}");
    assert!(broken.defect().is_some());
    assert!(matches!(
        broken.render(&[], true),
        Err(CheckpointError::Template { .. })
    ));
    assert_eq!(template("x").defect(), None);
}

#[test]
fn time_files_and_other_templates_are_out_of_reach() {
    for source in [
        "{{ strftime_now('%Y') }}",
        "{% include '/etc/passwd' %}",
        "{% extends 'base' %}",
        "{% import 'x' as y %}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__ }}{{ cycler() }}{{ lipsum() }}",
    ] {
        assert!(
            matches!(render(source), Err(CheckpointError::Template { .. })),
            "{source}"
        );
    }
}

const LOOP: &str = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";

#[test]
fn a_template_that_loops_ends_with_a_clear_error() {
    let error = render(LOOP).expect_err("it loops");
    assert!(
        matches!(
            error,
            CheckpointError::TemplateFuel {
                limit: 2_000_000,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("`chat_template.jinja`"),
        "{error}"
    );
}

#[test]
fn a_template_that_calls_itself_ends() {
    for source in [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% include 'chat_template' %}",
    ] {
        assert!(render(source).is_err(), "{source}");
    }
}

#[test]
fn a_template_that_grows_without_end_ends() {
    for growth in [
        "ns.x ~ ns.x",
        "ns.x + ns.x",
        "ns.x * 9",
        "ns.x.replace('a', ns.x)",
        "ns.x.join([ns.x, ns.x])",
        "ns.x|replace('a', ns.x)",
        "(ns.x ~ ns.x).split('a')|join('aa')",
        "[ns.x, ns.x]|tojson",
        "[ns.x, ns.x]|string",
    ] {
        let source = format!(
            "{{% set ns = namespace(x='aaaaaaaa') %}}{{% for i in range(200) %}}\
             {{% set ns.x = {growth} %}}{{% endfor %}}"
        );
        let error = render(&source).expect_err(growth);
        assert!(
            matches!(error, CheckpointError::TemplateFuel { .. }),
            "{growth}: {error}"
        );
    }
}

#[test]
fn a_value_that_holds_itself_many_times_is_not_written_out() {
    for write in ["ns.x|tojson", "ns.x|tojson(indent=2)"] {
        let source = format!(
            "{{% set ns = namespace(x=[1]) %}}{{% for i in range(60) %}}\
             {{% set ns.x = [ns.x, ns.x] %}}{{% endfor %}}{{{{ {write} }}}}"
        );
        let error = render(&source).expect_err("endless");
        assert!(
            matches!(error, CheckpointError::TemplateFuel { .. }),
            "{write}: {error}"
        );
    }
}

#[test]
fn a_template_that_floods_is_stopped() {
    let limits = Limits {
        template_output: 100,
        ..Limits::default()
    };
    let source = "{% for i in range(99) %}xx{% endfor %}";
    let flood = ChatTemplate::new(Path::new("t"), source, BTreeMap::new(), &limits);
    let error = flood.render(&[], true).expect_err("198 bytes");
    assert!(
        matches!(error, CheckpointError::TemplateOutput { limit: 100, .. }),
        "{error}"
    );
}

proptest! {
    #[test]
    fn arbitrary_templates_never_panic(source in r#"([{}%'a-z \[\].()0-9~|\n-]|\{% | %\}|\{\{ | \}\}){0,40}"#) {
        let _ = render(&source);
    }

    #[test]
    fn arbitrary_words_come_through(content in any::<String>()) {
        let echo = template("{{ messages[0].content }}");
        prop_assert_eq!(echo.render(&[message("user", &content)], true).expect("sound"), content);
    }
}
