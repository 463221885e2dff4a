use filiation_core::{ChoiceAnswer, Completion, Finish};

use super::*;

/// A model that writes words by its own habits: the same number, the same habits.
struct Scripted(u64);

fn mix(a: u64, b: u64) -> u64 {
    let mut x = (a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x2545_f491_4f6c_dd1d);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 29)
}

fn uniform(x: u64) -> f64 {
    (mix(x, 3) >> 11) as f64 / (1_u64 << 53) as f64
}

const COLOURS: [&str; 4] = ["red", "blue", "green", "grey"];

impl Scripted {
    fn habits(&self, prompt: &Prompt) -> Vec<f64> {
        let key = Digest::of(&canonical::to_bytes(prompt)).as_bytes()[0];
        let weight = |i: u64| uniform(mix(mix(self.0, u64::from(key)), i)).powi(3) + 0.02;
        let all: Vec<f64> = (0..5).map(weight).collect();
        let sum: f64 = all.iter().sum();
        all.iter().map(|w| w / sum).collect()
    }

    fn word(&self, prompt: &Prompt, seed: u64) -> &'static str {
        let mut left = uniform(seed);
        for (i, p) in self.habits(prompt).into_iter().enumerate() {
            left -= p;
            if left < 0.0 {
                return COLOURS.get(i).copied().unwrap_or("other");
            }
        }
        "other"
    }

    fn answer(&self, want: &Want) -> Outcome {
        match want {
            Want::Generate {
                prompt,
                max_tokens,
                sampling,
            } => {
                let words = (0..u64::from(*max_tokens) / 2)
                    .map(|i| self.word(prompt, mix(sampling.seed, i)));
                Ok(Answer::Completion(Completion {
                    text: words.collect::<Vec<_>>().join(" "),
                    tokens: Vec::new(),
                    finish: Finish::Length,
                }))
            }
            Want::Choice { prompt, .. } => Ok(Answer::Choice(ChoiceAnswer {
                logprobs: self.habits(prompt)[..4].iter().map(|p| p.ln()).collect(),
            })),
            other => Err(ModelError::Unsupported {
                want: other.kind().into(),
            }),
        }
    }

    fn recorded(&self, samples: u64) -> Vec<(Want, Outcome)> {
        let mut wants = Vec::new();
        for i in 0..30_u64 {
            let prompt = Prompt::user(format!("colours {i}"));
            wants.extend((0..samples).map(|k| Want::Generate {
                prompt: prompt.clone(),
                max_tokens: 12,
                sampling: Sampling {
                    temperature: 1.0,
                    top_p: 1.0,
                    seed: mix(i, k),
                },
            }));
        }
        for i in 0..10 {
            wants.push(Want::Choice {
                prompt: Prompt::user(format!("choose {i}")),
                options: COLOURS.map(str::to_owned).to_vec(),
            });
        }
        wants.push(Want::Generate {
            prompt: Prompt::user("greedy"),
            max_tokens: 12,
            sampling: Sampling::GREEDY,
        });
        wants
            .into_iter()
            .map(|w| (w.clone(), self.answer(&w)))
            .collect()
    }
}

fn compare(
    recorded: &[(Want, Outcome)],
    now: &Scripted,
    options: SamenessOptions,
) -> (SamenessFound, usize) {
    let plan = Sameness::plan(recorded, options).expect("in range");
    let mut asked = 0;
    let found = plan.compare::<StatsError>(&mut |requests| {
        asked += requests.len();
        Ok(requests.iter().map(|r| now.answer(&r.want)).collect())
    });
    (found.expect("sound"), asked)
}

#[test]
fn the_same_model_is_not_denied_and_another_is_by_every_test() {
    let options = SamenessOptions {
        draws: 999,
        noise: 0.0,
        ..SamenessOptions::default()
    };
    for (samples, several) in [(3, true), (1, false)] {
        let recorded = Scripted(1).recorded(samples);
        let (same, _) = compare(&recorded, &Scripted(1), options);
        let (other, _) = compare(&recorded, &Scripted(2), options);
        assert_eq!(
            (same.texts.is_some(), same.lone.is_some()),
            (several, !several)
        );
        if let (Some(same), Some(other)) = (same.texts, other.texts) {
            assert!(same.log10_p > -2.0, "{same:?}");
            assert!(other.log10_p < -2.9, "{other:?}");
            assert_eq!((other.prompts, other.recorded, other.fresh), (25, 75, 100));
        }
        if let (Some(same), Some(other)) = (same.lone, other.lone) {
            assert!(same.log10_best < 2.0, "{same:?}");
            assert!(other.log10_e > 2.0, "{other:?}");
        }
        let (same, other) = (same.choices.expect("asked"), other.choices.expect("asked"));
        assert!(same.log10_best < 2.0 && same.answers == 400, "{same:?}");
        assert!(other.log10_e >= 3.0 && other.answers < 200, "{other:?}");
    }
}

#[test]
fn log_probabilities_tell_how_far_two_models_lie_apart() {
    let recorded = Scripted(1).recorded(0);
    let options = SamenessOptions::default();
    let (same, _) = compare(&recorded, &Scripted(1), options);
    let same = same.logprobs.expect("asked");
    assert_eq!((same.questions, same.mean), (10, 0.0));
    assert!(
        same.log10_best == 0.0 && same.upper == Some(0.0),
        "{same:?}"
    );
    let (other, _) = compare(&recorded, &Scripted(2), options);
    let other = other.logprobs.expect("asked");
    assert!(other.mean > 0.5 && other.log10_e > 1.0, "{other:?}");
    let over = SamenessOptions {
        noise: 0.9,
        ..options
    };
    assert!(Sameness::plan(&recorded, over).is_err());
}

#[test]
fn fresh_texts_have_seeds_of_their_own_and_the_same_each_time() {
    let recorded = Scripted(1).recorded(2);
    let plan = |seed| {
        Sameness::plan(
            &recorded,
            SamenessOptions {
                seed,
                ..SamenessOptions::default()
            },
        )
        .expect("in range")
    };
    let (one, two) = (plan(0).requests(), plan(1).requests());
    assert_eq!(one, plan(0).requests());
    let keys: std::collections::BTreeSet<Digest> =
        one.iter().chain(&two).map(Request::key).collect();
    assert_eq!(keys.len(), one.len() + two.len());
    assert!(recorded.iter().all(|(want, _)| !keys.contains(&want.key())));
}

#[test]
fn noise_between_engines_is_tolerated_up_to_what_is_said() {
    // The reference is off by 0.1 nat, this way and that.
    let mut recorded = Scripted(1).recorded(0);
    for (_, outcome) in &mut recorded {
        if let Ok(Answer::Choice(choice)) = outcome {
            for (i, l) in choice.logprobs.iter_mut().enumerate() {
                *l = (l.exp() * if i % 2 == 0 { 0.9 } else { 1.0 }).ln();
            }
        }
    }
    let options = SamenessOptions {
        choices: 2000,
        noise: 0.11,
        ..SamenessOptions::default()
    };
    let (found, _) = compare(&recorded, &Scripted(1), options);
    assert!(found.choices.expect("asked").log10_best < 1.0, "{found:?}");
    let (other, _) = compare(&recorded, &Scripted(2), options);
    assert!(other.choices.expect("asked").log10_e >= 3.0, "{other:?}");
}

#[test]
fn the_least_alike_has_the_last_rank() {
    assert_eq!(strangeness(&[vec![1, 1], vec![2, 2], vec![2, 2]]), 3.0);
    assert_eq!(strangeness(&[vec![2, 2], vec![2, 2], vec![2, 2]]), 2.0);
}
