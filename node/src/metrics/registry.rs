//! How metrics are made and registered.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts,
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
