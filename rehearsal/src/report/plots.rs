//! The plots of the report: what each shows, taken from the timeline.

use banyan_core::Side;
use banyan_core::protocol::migration::HandoverOutcome;

use super::plot::{POINTS_MAX, Plot, Scale, Time};
use crate::timeline::{Kind, Timeline};

/// One second, or several where the run was long.
#[derive(Default)]
struct Bin {
    from_s: f64,
    width_s: f64,
    ms: Vec<f32>,
    failed: u32,
    failed_by_fault: u32,
    shed: u32,
}

impl Bin {
    fn middle_s(&self) -> f64 {
        self.from_s + self.width_s / 2.0
    }

    fn quantile(&self, quantile: f64) -> Option<f64> {
        let index = (self.ms.len() as f64 * quantile) as usize;
        self.ms.get(index.min(self.ms.len().saturating_sub(1))).map(|ms| f64::from(*ms))
    }
}

/// The axis that all plots share: phases, marks and handovers.
pub fn time(timeline: &Timeline) -> Time {
    let mut time = Time { end_s: timeline.end_s(), ..Time::default() };
    let phases: Vec<_> = timeline.marks.iter().filter(|mark| mark.kind == Kind::Phase).collect();
    for (n, phase) in phases.iter().enumerate() {
        let to_s = phases.get(n + 1).map_or(time.end_s, |next| next.at_s);
        time.band((phase.at_s, to_s), &phase.text);
    }
    for mark in timeline.marks.iter().filter(|mark| mark.kind != Kind::Phase) {
        let class = if mark.kind == Kind::Fault { "fault" } else { "recovered" };
        time.pin(mark.at_s, class, format!("{:.1} s: {}", mark.at_s, mark.text));
    }
    let moved = timeline.handovers.iter().map(|h| {
        let class = if h.to == Side::Service { "up" } else { "down" };
        (time.x(h.at_s), class)
    });
    time.handovers = moved.collect();
    time
}

/// All plots.
pub fn all(timeline: &Timeline, time: &Time) -> Vec<Plot> {
    let bins = bins(timeline);
    vec![
        latency(&bins, time),
        throughput(&bins, time),
        cohort(timeline, time),
        holds(timeline, time),
        lag(timeline, time),
    ]
}

fn bins(timeline: &Timeline) -> Vec<Bin> {
    let width = timeline.seconds.len().div_ceil(POINTS_MAX).max(1);
    let bin = |(n, seconds): (usize, &[crate::timeline::Second])| {
        let mut bin = Bin { from_s: (n * width) as f64, width_s: seconds.len() as f64, ..Bin::default() };
        for second in seconds {
            bin.ms.extend(&second.ms);
            bin.failed += second.failed;
            bin.failed_by_fault += second.failed_by_fault;
            bin.shed += second.shed;
        }
        bin.ms.sort_by(f32::total_cmp);
        bin
    };
    timeline.seconds.chunks(width).enumerate().map(bin).collect()
}

fn latency(bins: &[Bin], time: &Time) -> Plot {
    let points = |quantile: f64| -> Vec<_> {
        bins.iter().map(|bin| (bin.middle_s(), bin.quantile(quantile))).collect()
    };
    let (median, tail) = (points(0.5), points(0.99));
    let largest = tail.iter().filter_map(|(_, ms)| *ms).fold(0.0, f64::max);
    let note =
        "by second, of requests that were answered as they should be, from when each was due; the axis is \
                logarithmic"
            .into();
    Plot::new("Latency", note, (Scale::Logarithmic, largest, " ms"))
        .over(time)
        .line(time, ("p99", "second"), &tail)
        .line(time, ("p50", "first"), &median)
}

fn throughput(bins: &[Bin], time: &Time) -> Plot {
    let mut floor: Vec<f64> = vec![0.0; bins.len()];
    let mut layers = Vec::new();
    for (name, class, count) in [
        ("answered", "answered", (|bin| bin.ms.len() as u32) as fn(&Bin) -> u32),
        ("shed in the spike", "shed", |bin| bin.shed),
        ("failed by a fault on purpose", "excused", |bin| bin.failed_by_fault),
        ("failed", "failed", |bin| bin.failed),
    ] {
        let layer: Vec<(f64, f64, f64)> = bins
            .iter()
            .zip(&mut floor)
            .map(|(bin, floor)| {
                let from = *floor;
                *floor += f64::from(count(bin)) / bin.width_s.max(1.0);
                (bin.middle_s(), from, *floor)
            })
            .collect();
        layers.push((name, class, layer));
    }
    let largest = floor.iter().copied().fold(0.0, f64::max);
    let note = "answers a second".into();
    let empty = Plot::new("Throughput", note, (Scale::Linear, largest, "")).over(time);
    layers.iter().fold(empty, |plot, (name, class, layer)| plot.area(time, (name, class), layer))
}

fn cohort(timeline: &Timeline, time: &Time) -> Plot {
    let points = |of: fn(&crate::timeline::Moment) -> f64| -> Vec<_> {
        let thin = timeline.moments.len().div_ceil(POINTS_MAX * 4).max(1);
        timeline.moments.iter().step_by(thin).map(|(at_s, moment)| (*at_s, Some(of(moment)))).collect()
    };
    Plot::new(
        "Share at the service",
        "as control tells it every half second".into(),
        (Scale::Linear, 100.0, " %"),
    )
    .over(time)
    .line(time, ("wanted", "second thin"), &points(|moment| moment.wanted_percent))
    .line(time, ("reached", "first"), &points(|moment| moment.percent))
}

fn holds(timeline: &Timeline, time: &Time) -> Plot {
    let stems = |to: Side| -> Vec<(f64, f64)> {
        let done = timeline.handovers.iter().filter(|h| h.to == to && h.outcome == HandoverOutcome::Done);
        done.map(|h| (h.at_s, h.hold_ms as f64)).collect()
    };
    let (up, down) = (stems(Side::Service), stems(Side::Monolith));
    let largest = up.iter().chain(&down).map(|(_, ms)| *ms).fold(0.0, f64::max);
    let buckets: usize = timeline.handovers.iter().map(|h| h.buckets).sum();
    let note = format!(
        "from freeze to release of the writes, by handover: {} handovers, {buckets} buckets",
        timeline.handovers.len()
    );
    Plot::new("Holds", note, (Scale::Linear, largest, " ms"))
        .over(time)
        .stems(time, ("to the service", "first"), &up)
        .stems(time, ("to the monolith", "second"), &down)
}

fn lag(timeline: &Timeline, time: &Time) -> Plot {
    let points = |of: fn(&crate::timeline::Moment) -> u64| -> Vec<_> {
        let thin = timeline.moments.len().div_ceil(POINTS_MAX * 4).max(1);
        let moments = timeline.moments.iter().step_by(thin);
        moments.map(|(at_s, moment)| (*at_s, Some(of(moment) as f64))).collect()
    };
    let largest = timeline.moments.iter().map(|(_, m)| m.forward_lag_ms.max(m.reverse_lag_ms)).max();
    let note = "from a commit on one side to its commit on the other; the axis is logarithmic".into();
    Plot::new("Lag of the streams", note, (Scale::Logarithmic, largest.unwrap_or_default() as f64, " ms"))
        .over(time)
        .line(time, ("service → monolith", "second"), &points(|moment| moment.reverse_lag_ms))
        .line(time, ("monolith → service", "first"), &points(|moment| moment.forward_lag_ms))
}
