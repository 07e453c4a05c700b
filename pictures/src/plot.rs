//! Two-dimensional axes on a canvas: ticks, names, lines, marks, densities and a legend.
//!
//! [`Axes::new`] measures all text before it chooses ticks and margins, so that no label meets
//! another or leaves the area; where that is impossible, it says so.

use std::fmt;

use ndarray::Array2;

use super::canvas::{
    Align, Canvas, GREY, INK, Marker, PALE, Rect, Rgb, Stroke, Text, WHITE, bilinear,
    capital_height, mixed, text_height, text_width,
};

/// What cannot be drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum PlotError {
    /// The text is wider than its place.
    TextTooWide {
        /// The text.
        text: String,
        /// Pixels that it needs.
        needed: i32,
        /// Pixels that there are.
        available: i32,
    },
    /// The labels of the ticks that were asked for would overlap.
    TicksOverlap {
        /// The name of the axis.
        axis: String,
    },
    /// The area leaves no room for a panel.
    AreaTooSmall(Rect),
    /// The range is empty, not finite, or reaches 0 on a logarithmic axis.
    BadRange {
        /// The name of the axis.
        axis: String,
        /// Its lower end.
        from: f64,
        /// Its upper end.
        to: f64,
    },
    /// A legend or sheet of other size than its contents.
    CountMismatch {
        /// Entries expected.
        expected: usize,
        /// Entries found.
        found: usize,
    },
}

impl fmt::Display for PlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TextTooWide {
                text,
                needed,
                available,
            } => {
                write!(f, "{text:?} needs {needed} pixels, there are {available}")
            }
            Self::TicksOverlap { axis } => write!(f, "the tick labels of axis {axis:?} overlap"),
            Self::AreaTooSmall(area) => write!(f, "no room for a panel in {area:?}"),
            Self::BadRange { axis, from, to } => {
                write!(f, "axis {axis:?} cannot run from {from} to {to}")
            }
            Self::CountMismatch { expected, found } => {
                write!(f, "expected {expected} entries, found {found}")
            }
        }
    }
}

impl std::error::Error for PlotError {}

/// One axis: its name, its range, and where its ticks are.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    name: String,
    from: f64,
    to: f64,
    logarithmic: bool,
    ticks: Option<Vec<f64>>,
}

/// Where along an axis, 0 to 1, and what is written there.
type TickLabel = (f64, String);

impl Axis {
    /// An axis with even steps; `from` > `to` is a reversed one.
    pub fn linear(name: &str, from: f64, to: f64) -> Self {
        Self {
            name: name.into(),
            from,
            to,
            logarithmic: false,
            ticks: None,
        }
    }

    /// An axis with even ratios.
    pub fn logarithmic(name: &str, from: f64, to: f64) -> Self {
        Self {
            logarithmic: true,
            ..Self::linear(name, from, to)
        }
    }

    /// The same axis with these ticks instead of chosen ones.
    pub fn with_ticks(self, ticks: &[f64]) -> Self {
        Self {
            ticks: Some(ticks.to_vec()),
            ..self
        }
    }

    fn check(&self) -> Result<(), PlotError> {
        let (from, to) = (self.from, self.to);
        let usable = from.is_finite() && to.is_finite() && from != to;
        if usable && (!self.logarithmic || from.min(to) > 0.0) {
            return Ok(());
        }
        Err(PlotError::BadRange {
            axis: self.name.clone(),
            from,
            to,
        })
    }

    /// 0 at `from`, 1 at `to`.
    fn share(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }

    fn value(&self, share: f64) -> f64 {
        if self.logarithmic {
            self.from * (self.to / self.from).powf(share)
        } else {
            self.from + (self.to - self.from) * share
        }
    }

    /// At most `most` ticks in the range, as share and label.
    fn labels(&self, most: usize) -> Vec<TickLabel> {
        let (low, high) = (self.from.min(self.to), self.from.max(self.to));
        let (values, step) = match &self.ticks {
            Some(ticks) => (ticks.clone(), finest_step(ticks)),
            None if self.logarithmic => (decades(low, high, most), 0.0),
            None => even_steps(low, high, most),
        };
        let largest = values
            .iter()
            .fold(0.0, |most: f64, value| most.max(value.abs()));
        let notation = if self.logarithmic {
            Notation::Shorter
        } else {
            Notation::of(step, largest)
        };
        let margin = 1e-9;
        let placed = values
            .into_iter()
            .map(|value| (self.share(value), notation.write(value)));
        placed
            .filter(|(share, _)| (-margin..=1.0 + margin).contains(share))
            .collect()
    }
}

/// Multiples of 1, 2 or 5 times a power of ten: the finest such step with no more than `most` of
/// them in the range.
fn even_steps(low: f64, high: f64, most: usize) -> (Vec<f64>, f64) {
    let mut power = ((high - low) / most.max(1) as f64).log10().floor() as i32;
    loop {
        for factor in [1.0, 2.0, 5.0] {
            // 10ⁿ for negative n is not exact, its reciprocal is.
            let step = if power < 0 {
                factor / 10f64.powi(-power)
            } else {
                factor * 10f64.powi(power)
            };
            let slack = 1e-9;
            let (first, last) = ((low / step - slack).ceil(), (high / step + slack).floor());
            let count = last - first + 1.0;
            if count <= most.max(1) as f64 {
                let values = (0..count.max(0.0) as usize)
                    .map(|i| (first + i as f64) * step)
                    .collect();
                return (values, step);
            }
        }
        power += 1;
    }
}

/// Powers of ten, every n-th if there are many, with their doubles and fivefolds if there are few.
fn decades(low: f64, high: f64, most: usize) -> Vec<f64> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let margin = 1.0 + 1e-9;
    let within = |value: &f64| *value >= low / margin && *value <= high * margin;
    let power = |exponent: i32| {
        if exponent < 0 {
            1.0 / 10f64.powi(-exponent)
        } else {
            10f64.powi(exponent)
        }
    };
    let fine: Vec<f64> = (first..=last)
        .flat_map(|n| [1.0, 2.0, 5.0].map(|factor| factor * power(n)))
        .filter(within)
        .collect();
    if fine.len() <= most {
        return fine;
    }
    (1..)
        .map(|every| {
            (first..=last)
                .filter(|n| n % every == 0)
                .map(power)
                .filter(within)
                .collect::<Vec<_>>()
        })
        .find(|values| values.len() <= most.max(1))
        .unwrap_or_default()
}

fn finest_step(ticks: &[f64]) -> f64 {
    // Enough decimals to write every tick, three at most.
    let written = |decimals: i32, tick: f64| {
        let scaled = tick * 10f64.powi(decimals);
        (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1.0)
    };
    let decimals = (0..3)
        .find(|&decimals| ticks.iter().all(|&tick| written(decimals, tick)))
        .unwrap_or(3);
    1.0 / 10f64.powi(decimals)
}

/// How the labels of one axis are written.
#[derive(Clone, Copy, Debug)]
enum Notation {
    /// With so many decimals.
    Plain(usize),
    /// As a multiple of a power of ten.
    Scientific,
    /// Each the shorter way: the labels of a logarithmic axis.
    Shorter,
}

impl Notation {
    /// What suits ticks `step` apart, the largest of size `largest`.
    fn of(step: f64, largest: f64) -> Self {
        if step < 0.000_9 || largest > 99_999.5 {
            return Self::Scientific;
        }
        Self::Plain((-step.log10() - 1e-9).ceil().max(0.0) as usize)
    }

    fn write(self, value: f64) -> String {
        let plain = match self {
            Self::Plain(decimals) => {
                let text = format!("{value:.decimals$}");
                // −0 is 0.
                if text.chars().all(|c| matches!(c, '-' | '0' | '.')) {
                    text.replace('-', "")
                } else {
                    text
                }
            }
            Self::Shorter if (0.009..9_999.0).contains(&value) => format!("{value}"),
            Self::Scientific if value == 0.0 => "0".into(),
            Self::Scientific | Self::Shorter => scientific(value),
        };
        plain.replace('-', "−")
    }
}

fn scientific(value: f64) -> String {
    let text = format!("{value:.3e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    let raised: String = exponent.chars().map(superscript).collect();
    match digits {
        "1" => format!("10{raised}"),
        "-1" => format!("-10{raised}"),
        _ => format!("{digits}·10{raised}"),
    }
}

fn superscript(character: char) -> char {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    character
        .to_digit(10)
        .map_or('⁻', |digit| DIGITS[digit as usize])
}

/// The largest scale up to `scale` at which the text fits.
fn fitting_scale(text: &str, scale: i32, available: i32) -> Result<i32, PlotError> {
    let fits = (1..=scale.max(1))
        .rev()
        .find(|&scale| text_width(text, scale) <= available);
    fits.ok_or_else(|| PlotError::TextTooWide {
        text: text.into(),
        needed: text_width(text, 1),
        available,
    })
}

/// A corner of the panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corner {
    /// Upper left.
    UpperLeft,
    /// Upper right.
    UpperRight,
    /// Lower left.
    LowerLeft,
    /// Lower right.
    LowerRight,
}

/// What a legend shows before a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Key {
    /// A piece of line.
    Line(Stroke),
    /// A mark.
    Marker(Marker),
    /// A mark on a piece of line.
    Both(Stroke, Marker),
    /// A filled square.
    Fill(Rgb),
}

/// Key and name.
pub type Entry<'a> = (Key, &'a str);

/// A panel with its axes.
#[derive(Clone, Debug)]
pub struct Axes {
    panel: Rect,
    x: Axis,
    y: Axis,
    x_labels: Vec<TickLabel>,
    y_labels: Vec<TickLabel>,
    title: String,
    title_scale: i32,
    title_centre: i32,
    name_scales: (i32, i32),
    area: Rect,
    scale: i32,
}

impl Axes {
    /// Lays out a panel with title, names and tick labels within `area`, in text of `scale` (title
    /// and names smaller if they do not fit otherwise). An empty title or name takes no room.
    ///
    /// # Errors
    ///
    /// [`PlotError`] if the range is unusable or the labels find no room.
    pub fn new(area: Rect, title: &str, x: Axis, y: Axis, scale: i32) -> Result<Self, PlotError> {
        let scale = scale.max(1);
        x.check()?;
        y.check()?;
        let room = |text: &str, gap: i32| {
            if text.is_empty() {
                0
            } else {
                text_height(scale) + gap
            }
        };
        let above = room(title, 4 * scale).max(capital_height(scale));
        let below = label_drop(scale) + text_height(scale) + room(&x.name, 2 * scale);
        let height = area.height - above - below;
        if height < 3 * text_height(scale) {
            return Err(PlotError::AreaTooSmall(area));
        }
        let (y_labels, y_width) = Self::upright_ticks(&y, height, scale)?;
        let left = room(&y.name, 3 * scale) + y_width + tick_gap(scale);
        let (x_labels, left, width) = Self::level_ticks(&x, area.width, left, scale)?;
        let panel = Rect::new(area.x + left, area.y + above, width, height);

        let title_scale = fitting_scale(title, scale, area.width)?;
        let half = text_width(title, title_scale) / 2 + 1;
        let centre = panel.x + panel.width / 2;
        let title_centre = centre.min(area.right() - half).max(area.x + half);
        let name_scales = (
            fitting_scale(&x.name, scale, panel.width)?,
            fitting_scale(&y.name, scale, panel.height)?,
        );
        let title = title.into();
        Ok(Self {
            panel,
            x,
            y,
            x_labels,
            y_labels,
            title,
            title_scale,
            title_centre,
            name_scales,
            area,
            scale,
        })
    }

    /// The same with a panel, centred in the area, in which a unit of x is as long as one of y.
    ///
    /// # Errors
    ///
    /// As [`Axes::new`].
    pub fn equal(area: Rect, title: &str, x: Axis, y: Axis, scale: i32) -> Result<Self, PlotError> {
        let ratio = ((x.to - x.from) / (y.to - y.from)).abs();
        let mut inner = area;
        let mut axes = Self::new(inner, title, x.clone(), y.clone(), scale)?;
        // Less room can mean fewer ticks and other margins, hence more than one pass.
        for _ in 0..4 {
            let (width, height) = (f64::from(axes.panel.width), f64::from(axes.panel.height));
            inner.width -= (width - height * ratio).round().max(0.0) as i32;
            inner.height -= (height - width / ratio).round().max(0.0) as i32;
            inner.x = area.x + (area.width - inner.width) / 2;
            inner.y = area.y + (area.height - inner.height) / 2;
            axes = Self::new(inner, title, x.clone(), y.clone(), scale)?;
        }
        Ok(axes)
    }

    /// The labels of the y axis and the width of the widest.
    fn upright_ticks(
        axis: &Axis,
        height: i32,
        scale: i32,
    ) -> Result<(Vec<TickLabel>, i32), PlotError> {
        for most in (2..=7).rev() {
            let labels = axis.labels(most);
            let apart = f64::from(capital_height(scale)) * 2.0 / f64::from(height);
            if sorted_gaps(&labels).all(|(from, to)| labels[to].0 - labels[from].0 >= apart) {
                let width = labels
                    .iter()
                    .map(|(_, text)| text_width(text, scale))
                    .max()
                    .unwrap_or(0);
                return Ok((labels, width));
            }
            if axis.ticks.is_some() {
                break;
            }
        }
        Err(PlotError::TicksOverlap {
            axis: axis.name.clone(),
        })
    }

    /// The labels of the x axis, the left margin that they need and the width that they leave the
    /// panel.
    fn level_ticks(
        axis: &Axis,
        room: i32,
        left: i32,
        scale: i32,
    ) -> Result<(Vec<TickLabel>, i32, i32), PlotError> {
        for most in (2..=9).rev() {
            let labels = axis.labels(most);
            let half = |index: usize| text_width(&labels[index].1, scale) / 2 + 1;
            // A label may reach beyond the panel by the half of it that its tick does not balance.
            let widest = (0..labels.len()).map(half).max().unwrap_or(0);
            let (left, right) = (left.max(widest), widest.max(scale));
            let width = room - left - right;
            let place = |index: usize| (labels[index].0 * f64::from(width)) as i32;
            let apart =
                |(a, b): (usize, usize)| place(b) - half(b) - place(a) - half(a) >= 3 * scale;
            if width > 0 && sorted_gaps(&labels).all(apart) {
                return Ok((labels, left, width));
            }
            if axis.ticks.is_some() {
                break;
            }
        }
        Err(PlotError::TicksOverlap {
            axis: axis.name.clone(),
        })
    }

    /// The region where data is drawn.
    pub const fn panel(&self) -> Rect {
        self.panel
    }

    /// Where on the canvas a point of data lies.
    pub fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let across = self.x.share(x) * f64::from(self.panel.width);
        let up = self.y.share(y) * f64::from(self.panel.height);
        (
            f64::from(self.panel.x) + across,
            f64::from(self.panel.bottom()) - up,
        )
    }

    /// Draws grid, frame, ticks, names and title. Call it before the data.
    pub fn draw(&self, canvas: &mut Canvas) {
        let (panel, scale) = (self.panel, self.scale);
        canvas.rect(panel, WHITE, 1.0);
        let gap = tick_gap(scale);
        let label = Text::new(scale, INK);
        let tick = 2 * scale;
        for (share, text) in &self.x_labels {
            let x =
                panel.x + ((share * f64::from(panel.width)).round() as i32).min(panel.width - 1);
            canvas.rect(Rect::new(x, panel.y, 1, panel.height), PALE, 1.0);
            canvas.rect(Rect::new(x, panel.bottom(), 1, tick), GREY, 1.0);
            canvas.text(
                x,
                panel.bottom() + label_drop(scale),
                text,
                label.aligned(Align::Centre),
            );
        }
        for (share, text) in &self.y_labels {
            let y = panel.bottom() - ((share * f64::from(panel.height)).round() as i32).max(1);
            canvas.rect(Rect::new(panel.x, y, panel.width, 1), PALE, 1.0);
            canvas.rect(Rect::new(panel.x - tick, y, tick, 1), GREY, 1.0);
            canvas.text(
                panel.x - gap,
                y - capital_height(scale) / 2,
                text,
                label.aligned(Align::End),
            );
        }
        canvas.frame(panel, 1, GREY);
        let (across, up) = self.name_scales;
        let centre = (panel.x + panel.width / 2, panel.y + panel.height / 2);
        let name = Text::new(across, INK).aligned(Align::Centre);
        canvas.text(
            centre.0,
            self.area.bottom() - text_height(across),
            &self.x.name,
            name,
        );
        let name = Text::new(up, INK).aligned(Align::Centre).upward();
        canvas.text(self.area.x, centre.1, &self.y.name, name);
        let name = Text::new(self.title_scale, INK).aligned(Align::Centre);
        canvas.text(self.title_centre, self.area.y, &self.title, name);
    }

    /// Draws a line through points of data.
    pub fn line(&self, canvas: &mut Canvas, points: &[(f64, f64)], stroke: Stroke) {
        let placed: Vec<_> = points.iter().map(|&point| self.place(point)).collect();
        canvas.clipped(self.panel, |canvas| canvas.polyline(&placed, stroke));
    }

    /// Marks points of data.
    pub fn points(&self, canvas: &mut Canvas, points: &[(f64, f64)], marker: Marker) {
        canvas.clipped(self.panel, |canvas| {
            for &point in points {
                canvas.marker(self.place(point), marker);
            }
        });
    }

    /// Fills the panel with a table of values from 0 to 1, each mixed from `low` and `high`; the
    /// first row lies at the bottom. A value of 0 leaves what is below.
    pub fn heat_map(&self, canvas: &mut Canvas, values: &Array2<f64>, low: Rgb, high: Rgb) {
        if values.is_empty() {
            return;
        }
        let (rows, columns) = values.dim();
        let panel = self.panel;
        for row in 0..panel.height {
            let up = 1.0 - (f64::from(row) + 0.5) / f64::from(panel.height);
            for column in 0..panel.width {
                let across = (f64::from(column) + 0.5) / f64::from(panel.width);
                let value = bilinear(values.view(), up * rows as f64, across * columns as f64)
                    .clamp(0.0, 1.0);
                // Opaque from a tenth on: fainter values fade into the grid instead of hiding it.
                canvas.blend(
                    panel.x + column,
                    panel.y + row,
                    mixed(low, high, value),
                    10.0 * value,
                );
            }
        }
    }

    /// A table for [`Axes::heat_map`] from a function of data coordinates, divided by its largest
    /// value.
    pub fn tabulate(
        &self,
        columns: usize,
        rows: usize,
        density: impl Fn(f64, f64) -> f64,
    ) -> Array2<f64> {
        let centre = |axis: &Axis, index: usize, count: usize| {
            axis.value((index as f64 + 0.5) / count as f64)
        };
        let value =
            |(row, column)| density(centre(&self.x, column, columns), centre(&self.y, row, rows));
        scaled_to_one(Array2::from_shape_fn((rows, columns), value))
    }

    /// A table for [`Axes::heat_map`] that counts points, divided by its largest count.
    pub fn histogram(&self, columns: usize, rows: usize, points: &[(f64, f64)]) -> Array2<f64> {
        let mut counts = Array2::zeros((rows, columns));
        for &(x, y) in points {
            let cell = (
                self.y.share(y) * rows as f64,
                self.x.share(x) * columns as f64,
            );
            if cell.0 >= 0.0 && cell.1 >= 0.0 {
                // A point outside finds no cell.
                if let Some(count) = counts.get_mut((cell.0 as usize, cell.1 as usize)) {
                    *count += 1.0;
                }
            }
        }
        scaled_to_one(counts)
    }

    /// Draws a legend in a corner of the panel, above the data.
    ///
    /// # Errors
    ///
    /// [`PlotError::TextTooWide`] or [`PlotError::AreaTooSmall`] if the panel cannot hold it.
    pub fn legend(
        &self,
        canvas: &mut Canvas,
        corner: Corner,
        entries: &[Entry<'_>],
    ) -> Result<Rect, PlotError> {
        let (scale, panel) = (self.scale, self.panel);
        let (pad, line) = (3 * scale, text_height(scale) + 2 * scale);
        let widest = entries
            .iter()
            .map(|(_, name)| *name)
            .max_by_key(|name| text_width(name, scale))
            .unwrap_or("");
        let width = 2 * pad + key_width(scale) + text_width(widest, scale);
        let height = 2 * pad + line * entries.len() as i32 - 3 * scale;
        let (room, margin) = (panel.inset(3 * scale), 3 * scale);
        if width > room.width {
            let available = room.width - 2 * pad - key_width(scale);
            return Err(PlotError::TextTooWide {
                text: widest.into(),
                needed: text_width(widest, scale),
                available,
            });
        }
        if height > room.height {
            return Err(PlotError::AreaTooSmall(panel));
        }
        let left = matches!(corner, Corner::UpperLeft | Corner::LowerLeft);
        let upper = matches!(corner, Corner::UpperLeft | Corner::UpperRight);
        let x = if left {
            panel.x + margin
        } else {
            panel.right() - margin - width
        };
        let y = if upper {
            panel.y + margin
        } else {
            panel.bottom() - margin - height
        };
        let region = Rect::new(x, y, width, height);
        canvas.rect(region, WHITE, 0.88);
        canvas.frame(region, 1, PALE);
        for (index, &entry) in entries.iter().enumerate() {
            draw_entry(canvas, x + pad, y + pad + line * index as i32, entry, scale);
        }
        Ok(region)
    }
}

/// Draws a legend that several panels share: one line, centred in `area`.
///
/// # Errors
///
/// [`PlotError::TextTooWide`] if the line does not fit.
pub fn legend_row(
    canvas: &mut Canvas,
    area: Rect,
    entries: &[Entry<'_>],
    scale: i32,
) -> Result<(), PlotError> {
    let gap = 10 * scale;
    let width = |name: &str| key_width(scale) + text_width(name, scale);
    let total = entries
        .iter()
        .map(|(_, name)| width(name) + gap)
        .sum::<i32>()
        - gap;
    if total > area.width {
        let text = entries
            .iter()
            .map(|(_, name)| *name)
            .collect::<Vec<_>>()
            .join(", ");
        return Err(PlotError::TextTooWide {
            text,
            needed: total,
            available: area.width,
        });
    }
    if text_height(scale) > area.height {
        return Err(PlotError::AreaTooSmall(area));
    }
    let mut x = area.x + (area.width - total) / 2;
    let y = area.y + (area.height - text_height(scale)) / 2;
    for &entry in entries {
        draw_entry(canvas, x, y, entry, scale);
        x += width(entry.1) + gap;
    }
    Ok(())
}

/// Width of a key with the gap behind it.
const fn key_width(scale: i32) -> i32 {
    16 * scale
}

/// From the panel down to the labels of its ticks: below the lowest label at its left.
const fn label_drop(scale: i32) -> i32 {
    6 * scale
}

/// From the panel left to the labels of its ticks.
const fn tick_gap(scale: i32) -> i32 {
    4 * scale
}

fn draw_entry(canvas: &mut Canvas, x: i32, y: i32, (key, name): Entry<'_>, scale: i32) {
    let height = f64::from(capital_height(scale));
    let length = f64::from(12 * scale);
    let (left, middle) = (f64::from(x), f64::from(y) + height / 2.0);
    let centre = (left + length / 2.0, middle);
    let mut line =
        |stroke| canvas.line((left + 1.0, middle), (left + length - 1.0, middle), stroke);
    match key {
        // Faint lines and marks are faint because they are many; alone they would be invisible.
        Key::Line(stroke) => line(stroke.with_alpha(1.0)),
        Key::Marker(marker) => canvas.marker(centre, fitted(marker, height)),
        Key::Both(stroke, marker) => {
            line(stroke.with_alpha(1.0));
            canvas.marker(centre, fitted(marker, height));
        }
        Key::Fill(colour) => {
            let side = capital_height(scale);
            canvas.rect(
                Rect::new(x + (12 * scale - side) / 2, y, side, side),
                colour,
                1.0,
            );
        }
    }
    canvas.text(x + key_width(scale), y, name, Text::new(scale, INK));
}

/// The mark in a legend: opaque, and no smaller than can be seen nor larger than its line.
fn fitted(marker: Marker, height: f64) -> Marker {
    Marker {
        radius: marker.radius.clamp(height / 4.0, height / 2.0),
        alpha: 1.0,
        ..marker
    }
}

fn scaled_to_one(table: Array2<f64>) -> Array2<f64> {
    let largest = table.iter().copied().fold(0.0, f64::max);
    if largest > 0.0 {
        table / largest
    } else {
        table
    }
}

/// The indices of each two labels that are next to each other along the axis.
fn sorted_gaps(labels: &[TickLabel]) -> impl Iterator<Item = (usize, usize)> + use<> {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|&a, &b| labels[a].0.total_cmp(&labels[b].0));
    (1..order.len()).map(move |next| (order[next - 1], order[next]))
}
