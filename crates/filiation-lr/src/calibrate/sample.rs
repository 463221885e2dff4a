use std::collections::BTreeMap;

use crate::LrError;

/// A score or log10 likelihood ratio of a model whose history is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Labelled {
    /// The value; larger speaks for H1.
    pub value: f64,
    /// Whether H1 is true.
    pub distilled: bool,
    /// Its weight: 1 over the values of its lineage and class.
    pub weight: f64,
}

/// Values of models whose history is known, at least one of each class, none of them NaN.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    items: Vec<Labelled>,
}

impl Sample {
    /// Values whose models are all independent.
    ///
    /// # Errors
    /// [`LrError::Value`] for a NaN, [`LrError::EmptyClass`] where a class has no value.
    pub fn singly(values: impl IntoIterator<Item = (f64, bool)>) -> Result<Self, LrError> {
        let items = values.into_iter().map(|(value, distilled)| Labelled {
            value,
            distilled,
            weight: 1.0,
        });
        Self::new(items.collect())
    }

    /// Values with the lineages of their models and the weight of each lineage: those of one lineage and
    /// class weigh that much together.
    ///
    /// # Errors
    /// As [`Sample::singly`].
    pub fn by_lineage(values: &[(f64, bool, &str, f64)]) -> Result<Self, LrError> {
        let counts = counts(values.iter().map(|v| (v.2, v.1)));
        let item = |&(value, distilled, lineage, weight): &(f64, bool, &str, f64)| Labelled {
            value,
            distilled,
            weight: weight / counts[&(lineage, distilled)],
        };
        Self::new(values.iter().map(item).collect())
    }

    /// Values with weights.
    ///
    /// # Errors
    /// As [`Sample::singly`]; [`LrError::Setting`] for a weight that is not positive.
    pub fn new(items: Vec<Labelled>) -> Result<Self, LrError> {
        for (index, item) in items.iter().enumerate() {
            if item.value.is_nan() {
                return Err(LrError::Value {
                    index,
                    got: item.value,
                    expected: "a number",
                });
            }
            if !(item.weight > 0.0 && item.weight.is_finite()) {
                return Err(LrError::Setting {
                    name: "weight",
                    got: item.weight,
                    expected: "a positive number",
                });
            }
        }
        for distilled in [true, false] {
            if !items.iter().any(|item| item.distilled == distilled) {
                return Err(LrError::EmptyClass { distilled });
            }
        }
        Ok(Self { items })
    }

    /// The values, in the order in which they were given.
    pub fn items(&self) -> &[Labelled] {
        &self.items
    }

    /// The values of one class.
    pub fn class(&self, distilled: bool) -> impl Iterator<Item = &Labelled> + Clone {
        self.items.iter().filter(move |i| i.distilled == distilled)
    }

    /// Lineages of one class: the sum of its weights.
    pub fn lineages(&self, distilled: bool) -> f64 {
        self.class(distilled).map(|i| i.weight).sum()
    }

    /// The same with other values.
    ///
    /// # Errors
    /// [`LrError::Value`] where one becomes NaN.
    pub fn map(&self, value: impl Fn(f64) -> f64) -> Result<Self, LrError> {
        let item = |item: &Labelled| Labelled {
            value: value(item.value),
            ..*item
        };
        Self::new(self.items.iter().map(item).collect())
    }

    /// The same with `count` more values of each class where they mislead most: beyond all others,
    /// those of H1 below and those of H2 above.
    pub fn with_misleading(&self, count: f64) -> Self {
        let finite = self.items.iter().map(|i| i.value).filter(|v| v.is_finite());
        let low = finite.clone().fold(f64::INFINITY, f64::min);
        let high = finite.fold(f64::NEG_INFINITY, f64::max);
        let mut items = self.items.clone();
        for (value, distilled) in [(high + 1.0, false), (low - 1.0, true)] {
            items.push(Labelled {
                value,
                distilled,
                weight: count,
            });
        }
        Self { items }
    }

    /// The same with one more value of weight 1.
    pub(super) fn with(&self, value: f64, distilled: bool) -> Self {
        let mut items = self.items.clone();
        items.push(Labelled {
            value,
            distilled,
            weight: 1.0,
        });
        Self { items }
    }
}

/// How many values there are of each lineage and class.
pub(crate) fn counts<'a>(
    values: impl Iterator<Item = (&'a str, bool)>,
) -> BTreeMap<(&'a str, bool), f64> {
    let mut counts = BTreeMap::new();
    for key in values {
        *counts.entry(key).or_default() += 1.0;
    }
    counts
}

/// Scores of several streams, a row a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    width: usize,
    values: Vec<f64>,
    items: Vec<Labelled>,
}

impl Table {
    /// Rows of scores with class and weight; the `value` of each label is not looked at.
    ///
    /// # Errors
    /// As [`Sample::new`]; [`LrError::Width`] for rows of different widths, [`LrError::Value`] for a
    /// score that is not finite.
    pub fn new(rows: &[(&[f64], Labelled)]) -> Result<Self, LrError> {
        let width = rows.first().map_or(0, |(row, _)| row.len());
        let mut values = Vec::with_capacity(rows.len() * width);
        let mut items = Vec::with_capacity(rows.len());
        for (at, (row, label)) in rows.iter().enumerate() {
            if row.len() != width {
                return Err(LrError::Width {
                    row: at,
                    got: row.len(),
                    expected: width,
                });
            }
            if let Some(got) = row.iter().find(|x| !x.is_finite()) {
                return Err(LrError::Value {
                    index: at,
                    got: *got,
                    expected: "a finite number",
                });
            }
            values.extend_from_slice(row);
            items.push(Labelled {
                value: 0.0,
                ..*label
            });
        }
        let items = Sample::new(items)?.items;
        Ok(Self {
            width,
            values,
            items,
        })
    }

    /// A table of one stream.
    ///
    /// # Errors
    /// [`LrError::Value`] for a value that is not finite.
    pub fn of(sample: &Sample) -> Result<Self, LrError> {
        let rows: Vec<([f64; 1], Labelled)> =
            sample.items.iter().map(|i| ([i.value], *i)).collect();
        let rows: Vec<(&[f64], Labelled)> = rows.iter().map(|(row, i)| (&row[..], *i)).collect();
        Self::new(&rows)
    }

    /// Only the streams at these places.
    ///
    /// # Panics
    /// Where there is no such stream.
    pub fn columns(&self, places: &[usize]) -> Self {
        let row = |row: &[f64]| places.iter().map(|at| row[*at]).collect::<Vec<_>>();
        Self {
            width: places.len(),
            values: self.rows().flat_map(|(values, _)| row(values)).collect(),
            items: self.items.clone(),
        }
    }

    /// The same with other values, each made of its stream and value.
    ///
    /// # Errors
    /// [`LrError::Value`] where one is no longer finite.
    pub fn map(&self, value: impl Fn(usize, f64) -> f64) -> Result<Self, LrError> {
        self.gather(self.width, |at, row| value(at, row[at]))
    }

    /// The same labels with rows of another width, each value made of its place and the whole old row.
    ///
    /// # Errors
    /// [`LrError::Value`] where one is not finite.
    pub fn gather(
        &self,
        width: usize,
        value: impl Fn(usize, &[f64]) -> f64,
    ) -> Result<Self, LrError> {
        let rows: Vec<(Vec<f64>, Labelled)> = self
            .rows()
            .map(|(row, item)| ((0..width).map(|at| value(at, row)).collect(), *item))
            .collect();
        let rows: Vec<(&[f64], Labelled)> =
            rows.iter().map(|(row, item)| (&row[..], *item)).collect();
        Self::new(&rows)
    }

    /// Scores in a row.
    pub const fn width(&self) -> usize {
        self.width
    }

    /// Rows with their labels.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&[f64], &Labelled)> + Clone {
        let row = |(at, item)| (&self.values[at * self.width..][..self.width], item);
        self.items.iter().enumerate().map(row)
    }

    /// Lineages of one class: the sum of its weights.
    pub fn lineages(&self, distilled: bool) -> f64 {
        let class = self.items.iter().filter(|i| i.distilled == distilled);
        class.map(|i| i.weight).sum()
    }
}
