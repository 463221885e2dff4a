//! Trains small labelled teachers, bases and students.
