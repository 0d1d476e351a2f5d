//! Plots over time: from figures to the lines, ticks and labels that the page draws as SVG.

use serde::Serialize;
use std::fmt::Write as _;

/// The drawing, in units of the SVG; the page scales it.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 22.0;
const BOTTOM: f64 = 26.0;
/// Points of a line, at most.
pub const POINTS_MAX: usize = 300;
/// A phase is named where its name fits: units by character.
const CHARACTER: f64 = 6.6;

/// The width of a mark's number.
const PIN: f64 = 16.0;
/// Heights at which the numbers of marks that stand close are shown.
const PIN_ROWS: usize = 4;

/// How values are turned into heights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// From zero to the largest.
    Linear,
    /// By powers of ten, from one.
    Logarithmic,
}

/// A labelled place on an axis.
#[derive(Clone, Debug, Serialize)]
pub struct Tick {
    at: f64,
    text: String,
}

/// One line or area.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    name: &'static str,
    class: &'static str,
    path: String,
}

/// A phase behind the lines.
#[derive(Clone, Debug, Serialize)]
pub struct Band {
    x: f64,
    width: f64,
    text: String,
    shown: bool,
    odd: bool,
}

/// A numbered mark.
#[derive(Clone, Debug, Serialize)]
pub struct Pin {
    x: f64,
    class: &'static str,
    number: usize,
    /// The height of its number: those that stand close are staggered.
    row: usize,
    text: String,
}

/// What all plots of a page share.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Time {
    /// The whole time, in seconds.
    pub end_s: f64,
    /// The phases.
    pub bands: Vec<Band>,
    /// Faults and recoveries.
    pub pins: Vec<Pin>,
    /// Where handovers began: up and down.
    pub handovers: Vec<(f64, &'static str)>,
}

impl Time {
    /// The place of a second.
    pub fn x(&self, at_s: f64) -> f64 {
        round(LEFT + (WIDTH - LEFT - RIGHT) * (at_s / self.end_s).clamp(0.0, 1.0))
    }

    /// Adds a phase.
    pub fn band(&mut self, (from_s, to_s): (f64, f64), text: &str) {
        let (x, end) = (self.x(from_s), self.x(to_s));
        let shown = text.chars().count() as f64 * CHARACTER < end - x;
        let odd = self.bands.len() % 2 == 1;
        self.bands.push(Band { x, width: round(end - x), text: text.to_owned(), shown, odd });
    }

    /// Adds a mark with the next number.
    pub fn pin(&mut self, at_s: f64, class: &'static str, text: String) {
        let (x, number) = (self.x(at_s), self.pins.len() + 1);
        let close = self.pins.last().filter(|last| x - last.x < PIN);
        let row = close.map_or(0, |last| (last.row + 1) % PIN_ROWS);
        self.pins.push(Pin { x, class, number, row, text });
    }

    fn ticks(&self) -> Vec<Tick> {
        let step = nice(self.end_s / 8.0);
        let count = (self.end_s / step) as usize;
        let tick = |n: usize| {
            let s = step * n as f64;
            Tick { at: self.x(s), text: format!("{s:.0} s") }
        };
        (0..=count).map(tick).collect()
    }
}

/// One plot.
#[derive(Clone, Debug, Serialize)]
pub struct Plot {
    title: &'static str,
    note: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    x_ticks: Vec<Tick>,
    y_ticks: Vec<Tick>,
    series: Vec<Series>,
    #[serde(skip)]
    scale: Scale,
    #[serde(skip)]
    largest: f64,
}

impl Plot {
    /// An empty plot whose largest value is known.
    pub fn new(title: &'static str, note: String, (scale, largest, unit): (Scale, f64, &str)) -> Self {
        let mut plot = Self {
            title,
            note,
            width: WIDTH,
            height: HEIGHT,
            left: LEFT,
            right: WIDTH - RIGHT,
            top: TOP,
            bottom: HEIGHT - BOTTOM,
            x_ticks: Vec::new(),
            y_ticks: Vec::new(),
            series: Vec::new(),
            scale,
            largest: largest.max(1.0),
        };
        let values: Vec<f64> = match scale {
            Scale::Linear => {
                let step = nice(plot.largest / 4.0);
                plot.largest = (plot.largest / step).ceil() * step;
                (0..=(plot.largest / step).round() as usize).map(|n| n as f64 * step).collect()
            }
            Scale::Logarithmic => {
                plot.largest = 10_f64.powf(plot.largest.log10().ceil().max(1.0));
                (0..=plot.largest.log10().round() as i32).map(|n| 10_f64.powi(n)).collect()
            }
        };
        let tick = |value: &f64| Tick { at: plot.y(*value), text: format!("{value}{unit}") };
        plot.y_ticks = values.iter().map(tick).collect();
        plot
    }

    /// Draws the time below.
    #[must_use]
    pub fn over(mut self, time: &Time) -> Self {
        self.x_ticks = time.ticks();
        self
    }

    /// Adds a line; it breaks where a value is missing.
    #[must_use]
    pub fn line(
        mut self,
        time: &Time,
        (name, class): (&'static str, &'static str),
        points: &[(f64, Option<f64>)],
    ) -> Self {
        let mut path = String::new();
        let mut pen_down = false;
        for (at_s, value) in points {
            pen_down = match value {
                Some(value) => {
                    let verb = if pen_down { 'L' } else { 'M' };
                    let _ = write!(path, "{verb}{} {}", time.x(*at_s), self.y(*value));
                    true
                }
                None => false,
            };
        }
        self.series.push(Series { name, class, path });
        self
    }

    /// Adds an area between two heights, point by point.
    #[must_use]
    pub fn area(
        mut self,
        time: &Time,
        (name, class): (&'static str, &'static str),
        points: &[(f64, f64, f64)],
    ) -> Self {
        let mut path = String::new();
        let upper = points.iter().map(|(at_s, _, to)| (at_s, to));
        let lower = points.iter().rev().map(|(at_s, from, _)| (at_s, from));
        for (n, (at_s, value)) in upper.chain(lower).enumerate() {
            let verb = if n == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{verb}{} {}", time.x(*at_s), self.y(*value));
        }
        self.series.push(Series { name, class, path });
        self
    }

    /// Adds a stem from the ground for each value.
    #[must_use]
    pub fn stems(
        mut self,
        time: &Time,
        (name, class): (&'static str, &'static str),
        points: &[(f64, f64)],
    ) -> Self {
        let mut path = String::new();
        for (at_s, value) in points {
            let _ = write!(path, "M{} {}V{}", time.x(*at_s), self.bottom, self.y(*value));
        }
        self.series.push(Series { name, class, path });
        self
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => value / self.largest,
            Scale::Logarithmic => value.max(1.0).log10() / self.largest.log10(),
        };
        round(self.bottom - (self.bottom - self.top) * share.clamp(0.0, 1.0))
    }
}

/// The next of 1, 2, 5, 10, 20, … from a length on.
fn nice(length: f64) -> f64 {
    let power = 10_f64.powf(length.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|n| n * power)
        .find(|step| *step >= length * 0.999)
        .unwrap_or(length)
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_to_its_frame_and_breaks_where_nothing_is_known() {
        let time = Time { end_s: 100.0, ..Time::default() };
        let plot = Plot::new("t", String::new(), (Scale::Linear, 40.0, " ms")).over(&time);
        let points = [(0.0, Some(0.0)), (50.0, Some(40.0)), (60.0, None), (100.0, Some(99.0))];
        let plot = plot.line(&time, ("n", "c"), &points);
        assert_eq!(plot.series[0].path, "M66 164L508 22M950 22", "higher than the frame is cut");
        let texts: Vec<&str> = plot.y_ticks.iter().map(|tick| tick.text.as_str()).collect();
        assert_eq!(texts, ["0 ms", "10 ms", "20 ms", "30 ms", "40 ms"]);
        assert_eq!(plot.x_ticks.len(), 6, "every 20 s");
    }

    #[test]
    fn powers_of_ten_are_equally_far_apart() {
        let plot = Plot::new("t", String::new(), (Scale::Logarithmic, 700.0, ""));
        let gaps: Vec<f64> = plot.y_ticks.windows(2).map(|pair| pair[0].at - pair[1].at).collect();
        assert_eq!(gaps.len(), 3);
        assert!(gaps.iter().all(|gap| (gap - gaps[0]).abs() < 0.2), "{gaps:?}");
        assert_eq!([nice(0.3), nice(7.0), nice(20.0), nice(21.0)], [0.5, 10.0, 20.0, 50.0]);
    }
}
