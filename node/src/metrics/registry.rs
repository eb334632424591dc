//! How metrics are made and registered.

use prometheus::core::Collector;
use prometheus::{
    Counter, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts,
};

fn register<C: Collector + Clone + 'static>(collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("names, labels and buckets are constants that fit");
    prometheus::register(Box::new(collector.clone())).expect("each name is registered once");
    collector
}

pub(super) fn counter(name: &str, help: &str) -> IntCounter {
    register(IntCounter::new(name, help))
}

pub(super) fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    register(IntCounterVec::new(Opts::new(name, help), labels))
}

pub(super) fn float_counter(name: &str, help: &str) -> Counter {
    register(Counter::new(name, help))
}

pub(super) fn gauge(name: &str, help: &str) -> IntGauge {
    register(IntGauge::new(name, help))
}

pub(super) fn float_gauge(name: &str, help: &str) -> Gauge {
    register(Gauge::new(name, help))
}

pub(super) fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    register(IntGaugeVec::new(Opts::new(name, help), labels))
}

pub(super) fn float_gauges(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    register(GaugeVec::new(Opts::new(name, help), labels))
}

pub(super) fn histogram(name: &str, help: &str, buckets: Exponential) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(buckets.edges());
    register(Histogram::with_opts(options))
}

pub(super) fn histograms(
    name: &str,
    help: &str,
    labels: &[&str],
    buckets: Exponential,
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.edges());
    register(HistogramVec::new(options, labels))
}

pub(super) fn histograms_with(
    name: &str,
    help: &str,
    labels: &[&str],
    edges: &[f64],
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(edges.to_vec());
    register(HistogramVec::new(options, labels))
}

/// Bucket edges that grow by a factor.
#[derive(Clone, Copy)]
pub(super) struct Exponential {
    pub(super) start: f64,
    pub(super) factor: f64,
    pub(super) count: usize,
}

/// Of durations on disk: 1 ms to 8.2 s.
pub(super) const DISK: Exponential = Exponential { start: 0.001, factor: 2.0, count: 14 };
/// Of what takes longer: 100 ms to 51 s.
pub(super) const TRANSFER: Exponential = Exponential { start: 0.1, factor: 2.0, count: 10 };
/// Of hashes: 10 ms to 164 s.
pub(super) const HASH: Exponential = Exponential { start: 0.01, factor: 2.0, count: 15 };
/// Of snapshots: 10 ms to 655 s.
pub(super) const SNAPSHOT: Exponential = Exponential { start: 0.01, factor: 2.0, count: 17 };
/// Of giving space back: 100 ms to 410 s.
pub(super) const DEFRAG: Exponential = Exponential { start: 0.1, factor: 2.0, count: 13 };
/// Of compaction's hold of the index: 0.5 ms to 4.1 s, in milliseconds.
pub(super) const INDEX_STEP: Exponential = Exponential { start: 0.5, factor: 2.0, count: 14 };
/// Of compaction's hold of the store: 1 ms to 4.1 s, in milliseconds.
pub(super) const COMPACTION_STEP: Exponential = Exponential { start: 1.0, factor: 2.0, count: 13 };
/// Of whole compactions: 100 ms to 819 s, in milliseconds.
pub(super) const COMPACTION: Exponential = Exponential { start: 100.0, factor: 2.0, count: 14 };
/// Of times to live: 1 s to 97 days.
pub(super) const LIFETIME: Exponential = Exponential { start: 1.0, factor: 2.0, count: 24 };
/// Of round trips: 0.1 ms to 3.3 s.
pub(super) const ROUND_TRIP: Exponential = Exponential { start: 0.0001, factor: 2.0, count: 16 };
/// Of what is done in memory: 0.1 ms to 52 s.
pub(super) const MEMORY: Exponential = Exponential { start: 0.0001, factor: 2.0, count: 20 };

impl Exponential {
    fn edges(self) -> Vec<f64> {
        let mut edge = self.start;
        let mut edges = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            edges.push(edge);
            edge *= self.factor;
        }
        edges
    }
}
