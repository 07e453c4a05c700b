//! Class posteriors and their gradients.

use diffusion_sampler::{
    Error,
    oracle::{LabelledOracle, Oracle},
};

use crate::specimens::*;

/// Runs a law over every labelled oracle together with its classes as oracles of their own.
fn labelled(mut law: impl FnMut(&str, &dyn LabelledOracle, &[Box<dyn Oracle>])) {
    let (m, s, e) = (mixture(), smooth_mixture(), empirical());
    let class = |label| -> Box<dyn Oracle> { Box::new(m.condition(label).unwrap()) };
    law("mixture", &m, &[class(0), class(1), class(2)]);
    let class = |label| -> Box<dyn Oracle> { Box::new(s.condition(label).unwrap()) };
    law("smooth mixture", &s, &[class(0), class(1)]);
    let class = |label| -> Box<dyn Oracle> { Box::new(e.condition(label).unwrap()) };
    law("empirical", &e, &[class(0), class(1), class(2)]);
}

const POINTS: [[f64; 3]; 3] = [[0.1, -0.2, 0.4], [1.0, 1.5, -0.5], [-3.0, 2.0, 4.0]];

#[test]
fn class_posteriors_sum_to_one() {
    labelled(|name, oracle, classes| {
        for level in levels() {
            for x in POINTS {
                let log_posterior = oracle.class_log_posterior(&x, &level).unwrap();
                assert_eq!(log_posterior.len(), classes.len());
                let sum: f64 = log_posterior.iter().map(|l| l.exp()).sum();
                assert!((sum - 1.0).abs() < 1e-14, "{name}: {sum}");
            }
        }
    });
}

#[test]
fn class_posteriors_are_bayes_rule() {
    labelled(|name, oracle, classes| {
        let prior = oracle
            .class_log_posterior(&[0.0; 3], &level(0.0, 1.0))
            .unwrap();
        for level in levels() {
            for x in POINTS {
                let posterior = oracle.class_log_posterior(&x, &level).unwrap();
                let all = oracle.log_density(&x, &level).unwrap();
                for (y, class) in classes.iter().enumerate() {
                    let bayes = prior[y] + class.log_density(&x, &level).unwrap() - all;
                    // The difference of the log-densities loses digits where they are large.
                    assert!(
                        (posterior[y] - bayes).abs() < 1e-13 * (10.0 + all.abs() + bayes.abs()),
                        "{name}: {} {bayes}",
                        posterior[y]
                    );
                }
            }
        }
    });
}

#[test]
fn the_class_gradient_is_the_gradient_of_the_class_posterior() {
    labelled(|name, oracle, classes| {
        for level in levels() {
            for x in POINTS {
                for y in 0..classes.len() {
                    let gradient = oracle.class_gradient(&x, &level, y).unwrap();
                    for i in 0..3 {
                        let slope = difference(
                            |x| oracle.class_log_posterior(x, &level).unwrap(),
                            &x,
                            i,
                            1e-4 * level.sigma(),
                        )[y];
                        let tolerance = 1e-6 * (1.0 + gradient[i].abs()) / level.sigma().min(1.0);
                        assert!(
                            (slope - gradient[i]).abs() < tolerance,
                            "{name} at {level:?}: {slope} {}",
                            gradient[i]
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn the_class_gradient_is_the_score_of_the_class_minus_the_score() {
    labelled(|name, oracle, classes| {
        for level in levels() {
            for x in POINTS {
                let score = oracle.score(&x, &level).unwrap();
                for (y, class) in classes.iter().enumerate() {
                    let of_class = class.score(&x, &level).unwrap();
                    let gradient = oracle.class_gradient(&x, &level, y).unwrap();
                    for i in 0..3 {
                        let gap = gradient[i] - (of_class[i] - score[i]);
                        assert!(
                            gap.abs() < 1e-13 * (1.0 + score[i].abs() + of_class[i].abs()),
                            "{name} at {level:?}: {gap:e}"
                        );
                    }
                }
            }
        }
    });
}

#[test]
fn the_score_is_the_posterior_mean_of_the_classes_scores() {
    labelled(|name, oracle, classes| {
        for level in levels() {
            for x in POINTS {
                let posterior = oracle.class_log_posterior(&x, &level).unwrap();
                let mut sum = vec![0.0; 3];
                for (class, log_p) in classes.iter().zip(posterior) {
                    for (s, c) in sum.iter_mut().zip(class.score(&x, &level).unwrap()) {
                        *s += log_p.exp() * c;
                    }
                }
                assert_close(&oracle.score(&x, &level).unwrap(), &sum, 1e-11, name);
            }
        }
    });
}

#[test]
fn labels_that_nothing_carries_are_refused() {
    for oracle in [&mixture() as &dyn LabelledOracle, &empirical()] {
        let refused = oracle.class_gradient(&[0.0; 3], &level(0.8, 0.6), 3);
        assert_eq!(refused, Err(Error::UnknownLabel { label: 3, count: 3 }));
    }
    let unknown = Error::UnknownLabel { label: 7, count: 3 };
    assert_eq!(mixture().condition(7).unwrap_err(), unknown);
    assert_eq!(empirical().condition(7).unwrap_err(), unknown);
    assert_eq!(mixture().classifier(7).err(), Some(unknown.clone()));
    // A class keeps the count: the others have probability 0 there.
    let class = mixture().condition(1).unwrap();
    let posterior = class
        .class_log_posterior(&[0.0; 3], &level(0.8, 0.6))
        .unwrap();
    assert_eq!(posterior, [f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY]);
    assert!(class.condition(0).is_err());
}
