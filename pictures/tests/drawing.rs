//! The facts that the programs rely on: the digits are those of the source, text stays in its box,
//! PNGs come back.

use std::error::Error;
use std::fs::{File, remove_dir_all};
use std::io::BufReader;

use ndarray::array;
use pictures::canvas::{
    Align, Canvas, INK, ImageLook, Marker, PALETTE, Rect, Shape, Stroke, Text, WHITE,
    missing_glyphs, text_height, text_width,
};
use pictures::digits::Digits;
use pictures::plot::{Axes, Axis, Corner, Key, PlotError, legend_row};
use pictures::sheet::Sheet;

/// The smallest region that holds every pixel other than white.
fn drawn(canvas: &Canvas) -> Option<Rect> {
    let area = canvas.area();
    let pixels = (0..area.height).flat_map(|y| (0..area.width).map(move |x| (x, y)));
    let inked: Vec<_> = pixels
        .filter(|&(x, y)| canvas.pixel(x, y) != Some(WHITE))
        .collect();
    let (left, right) = (
        inked.iter().map(|p| p.0).min()?,
        inked.iter().map(|p| p.0).max()?,
    );
    let (top, bottom) = (
        inked.iter().map(|p| p.1).min()?,
        inked.iter().map(|p| p.1).max()?,
    );
    Some(Rect::new(left, top, right - left + 1, bottom - top + 1))
}

fn encloses(outer: Rect, inner: Rect) -> bool {
    outer.intersection(inner) == inner
}

const PRINTABLE: std::ops::RangeInclusive<char> = ' '..='~';
const MATHEMATICS: &str = "αβγΔεηθκλμπρστ×±≈≤≥√∞·–−→←…⁻⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂ₜ‖";

#[test]
fn the_digits_are_those_of_the_source() -> Result<(), Box<dyn Error>> {
    let digits = Digits::load()?;
    assert_eq!(digits.pixels.dim(), (1797, 64));
    assert_eq!(digits.count(), 1797);
    assert!(
        digits
            .pixels
            .iter()
            .all(|value| (0.0..=16.0).contains(value) && value.fract() == 0.0)
    );
    assert!(digits.pixels.iter().any(|&value| value == 16.0));
    let counts: Vec<usize> = (0..10).map(|label| digits.rows_of(label).len()).collect();
    assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    // The first row of the source, in full.
    let first = [
        0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0, 0, 3, 15, 2, 0, 11, 8, 0, 0, 4, 12, 0,
        0, 8, 8, 0, 0, 5, 8, 0, 0, 9, 8, 0, 0, 4, 11, 0, 1, 12, 7, 0, 0, 2, 14, 5, 10, 12, 0, 0, 0,
        0, 6, 13, 10, 0, 0, 0,
    ];
    assert!(
        digits
            .pixels
            .row(0)
            .iter()
            .zip(first)
            .all(|(&value, expected)| value == f64::from(expected))
    );
    assert_eq!(digits.labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    Ok(())
}

#[test]
fn scaled_digits_run_from_paper_to_ink() -> Result<(), Box<dyn Error>> {
    let digits = Digits::load()?;
    let signed = digits.signed();
    assert_eq!(signed.iter().copied().fold(f64::INFINITY, f64::min), -1.0);
    assert_eq!(
        signed.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        1.0
    );
    let image = digits.image(0)?;
    assert_eq!(image.dim(), (8, 8));
    assert_eq!(image[[0, 2]], 5.0 / 16.0);
    assert_eq!(image[[7, 3]], 13.0 / 16.0);
    Ok(())
}

#[test]
fn the_font_has_every_character_that_labels_need() {
    let all: String = PRINTABLE.chain(MATHEMATICS.chars()).collect();
    assert_eq!(missing_glyphs(&all), "");
    assert_eq!(missing_glyphs("aあ"), "あ");
}

#[test]
fn each_character_stays_in_its_measured_box_and_differs_from_all_others() {
    let mut pictures: Vec<(char, Canvas)> = Vec::new();
    for character in PRINTABLE.chain(MATHEMATICS.chars()) {
        for scale in 1..=3 {
            let text = character.to_string();
            let mut canvas = Canvas::new(60, 60, WHITE);
            let region = canvas.text(10, 10, &text, Text::new(scale, INK));
            assert_eq!(
                region,
                Rect::new(10, 10, text_width(&text, scale), text_height(scale))
            );
            match drawn(&canvas) {
                Some(inked) => assert!(
                    encloses(region, inked),
                    "{character} at {scale}: {inked:?} in {region:?}"
                ),
                None => assert_eq!(character, ' '),
            }
            if scale == 1 {
                pictures.push((character, canvas));
            }
        }
    }
    for (index, (character, canvas)) in pictures.iter().enumerate() {
        for (other, same) in &pictures[index + 1..] {
            let area = canvas.area();
            let differ = (0..area.height)
                .any(|y| (0..area.width).any(|x| canvas.pixel(x, y) != same.pixel(x, y)));
            assert!(differ, "{character} and {other} look the same");
        }
    }
}

#[test]
fn aligned_and_upward_text_stays_in_its_box() {
    let text = "log-SNR λ(t) → √α, 10⁻³";
    for align in [Align::Start, Align::Centre, Align::End] {
        for style in [Text::new(2, INK), Text::new(2, INK).upward()] {
            let mut canvas = Canvas::new(800, 800, WHITE);
            let region = canvas.text(400, 400, text, style.aligned(align));
            assert!(drawn(&canvas).is_some_and(|inked| encloses(region, inked)));
        }
    }
}

#[test]
fn an_enlarged_upright_stroke_has_no_grey_sides() {
    let mut canvas = Canvas::new(20, 30, WHITE);
    canvas.text(4, 2, "|", Text::new(3, INK));
    for x in 0..20 {
        let expected = if (4..7).contains(&x) { INK } else { WHITE };
        assert_eq!(canvas.pixel(x, 14), Some(expected));
    }
}

#[test]
fn a_crossing_line_is_nowhere_darker_than_its_opacity() {
    let mut canvas = Canvas::new(40, 40, WHITE);
    let loops = [
        (5.0, 5.0),
        (35.0, 35.0),
        (35.0, 5.0),
        (5.0, 35.0),
        (5.0, 5.0),
        (35.0, 35.0),
    ];
    canvas.polyline(&loops, Stroke::new([0, 0, 0], 4.0).with_alpha(0.4));
    let darkest = (0..40)
        .flat_map(|y| (0..40).map(move |x| (x, y)))
        .filter_map(|(x, y)| canvas.pixel(x, y))
        .min();
    assert_eq!(darkest, Some([153, 153, 153]));
}

#[test]
fn a_line_covers_its_length_times_its_width() {
    for to in [(110.0, 20.0), (20.0, 110.0), (100.5, 90.25), (30.0, 118.0)] {
        let mut canvas = Canvas::new(130, 130, WHITE);
        canvas.line((20.0, 20.0), to, Stroke::new([0, 0, 0], 3.0));
        let pixels = (0..130).flat_map(|y| (0..130).map(move |x| (x, y)));
        let ink: f64 = pixels
            .filter_map(|(x, y)| canvas.pixel(x, y))
            .map(|p| 1.0 - f64::from(p[0]) / 255.0)
            .sum();
        // The two round ends together are a disc.
        let expected =
            f64::hypot(to.0 - 20.0, to.1 - 20.0) * 3.0 + std::f64::consts::PI * 1.5 * 1.5;
        assert!(
            (ink / expected - 1.0).abs() < 0.02,
            "to {to:?}: {ink} instead of {expected}"
        );
    }
}

#[test]
fn what_lies_outside_is_left_out() {
    let mut canvas = Canvas::new(30, 30, WHITE);
    let region = Rect::new(10, 10, 8, 6);
    canvas.clipped(region, |canvas| {
        canvas.line((-1e12, -1e12), (1e12, 1e12), Stroke::new(INK, 5.0));
        canvas.line((f64::NAN, 0.0), (20.0, 20.0), Stroke::new(INK, 5.0));
        canvas.disc((18.0, 16.0), 9.0, INK, 1.0);
        canvas.marker((f64::INFINITY, 12.0), Marker::new(Shape::Cross, 3.0, INK));
        canvas.rect(Rect::new(-50, -50, 61, 61), INK, 1.0);
        canvas.text(5, 8, "Wide text", Text::new(2, INK));
        canvas.image(
            0,
            12,
            array![[0.5, 0.7]].view(),
            ImageLook::new(20).smooth(),
        );
    });
    assert!(drawn(&canvas).is_some_and(|inked| encloses(region, inked)));
    canvas.frame(canvas.area().inset(1), 1, INK);
    assert_eq!(canvas.pixel(0, 0), Some(INK));
}

#[test]
fn an_image_shows_its_values_and_marks_what_is_not_finite() {
    let mut canvas = Canvas::new(8, 4, WHITE);
    let values = array![[0.0, 1.0, 2.0, f64::NAN]];
    canvas.image(
        0,
        0,
        values.view(),
        ImageLook {
            paper: [0, 0, 0],
            ink: [200, 100, 50],
            ..ImageLook::new(2)
        },
    );
    let row: Vec<_> = (0..4).filter_map(|x| canvas.pixel(2 * x + 1, 1)).collect();
    assert_eq!(
        row,
        [
            [0, 0, 0],
            [200, 100, 50],
            [200, 100, 50],
            pictures::canvas::ALARM
        ]
    );
    assert_eq!(canvas.pixel(0, 2), Some(WHITE));
}

#[test]
fn a_saved_png_comes_back_bit_for_bit() -> Result<(), Box<dyn Error>> {
    let mut canvas = Canvas::new(61, 37, [250, 240, 230]);
    canvas.line(
        (3.0, 4.0),
        (55.0, 30.0),
        Stroke::new(PALETTE[0], 2.5).with_alpha(0.7),
    );
    canvas.text(2, 20, "σ = 0.5", Text::new(1, INK));
    let folder = std::env::temp_dir().join(format!("diffusion-sampler-{}", std::process::id()));
    let path = folder.join("a/b.png");
    canvas.save_png(&path)?;
    let mut reader = png::Decoder::new(BufReader::new(File::open(&path)?)).read_info()?;
    assert_eq!(reader.info().size(), (61, 37));
    assert_eq!(reader.info().color_type, png::ColorType::Rgb);
    let mut bytes = vec![0; 61 * 37 * 3];
    reader.next_frame(&mut bytes)?;
    let expected: Vec<u8> = (0..37)
        .flat_map(|y| (0..61).map(move |x| (x, y)))
        .filter_map(|(x, y)| canvas.pixel(x, y))
        .flatten()
        .collect();
    assert!(bytes == expected);
    remove_dir_all(folder)?;
    Ok(())
}

#[test]
fn axes_with_all_their_labels_stay_in_their_area() -> Result<(), Box<dyn Error>> {
    let ranges = [
        (-1.0, 1.0),
        (0.0, 1e-5),
        (-2e6, 3e6),
        (999.0, 1001.0),
        (0.1, 0.7),
        (1.0, 0.0),
    ];
    for (from, to) in ranges {
        for (width, height) in [(300, 220), (640, 480), (420, 900)] {
            let mut canvas = Canvas::new(width + 40, height + 40, WHITE);
            let area = Rect::new(20, 20, width, height);
            let x = Axis::linear("time t", from, to);
            let axes = Axes::new(area, "A title", x, Axis::linear("noise σ", to, from), 2)?;
            axes.draw(&mut canvas);
            axes.line(
                &mut canvas,
                &[(from - 1.0, to), (to + 1.0, from * 2.0)],
                Stroke::new(INK, 3.0),
            );
            let inked = drawn(&canvas);
            assert!(
                inked.is_some_and(|inked| encloses(area, inked)),
                "{from} to {to} in {width}×{height}: {inked:?}"
            );
        }
    }
    let axes = Axes::new(
        Rect::new(0, 0, 500, 300),
        "",
        Axis::logarithmic("steps", 1.0, 1000.0),
        Axis::logarithmic("error", 1e-12, 1.0),
        2,
    )?;
    let panel = axes.panel();
    assert_eq!(
        axes.place((1.0, 1e-12)),
        (f64::from(panel.x), f64::from(panel.bottom()))
    );
    let (x, y) = axes.place((1000.0, 1.0));
    assert!((x - f64::from(panel.right())).abs() < 1e-9 && (y - f64::from(panel.y)).abs() < 1e-9);
    Ok(())
}

#[test]
fn equal_axes_show_a_circle_as_a_circle() -> Result<(), Box<dyn Error>> {
    for (width, height) in [(700, 400), (400, 700), (500, 500)] {
        let area = Rect::new(30, 10, width, height);
        let (x, y) = (Axis::linear("x", -3.0, 3.0), Axis::linear("y", -2.0, 2.0));
        let axes = Axes::equal(area, "A title", x, y, 2)?;
        let panel = axes.panel();
        let ratio = f64::from(panel.width) / f64::from(panel.height);
        assert!(
            (ratio / 1.5 - 1.0).abs() < 0.005,
            "{width}×{height}: {panel:?}"
        );
        assert!(encloses(area, panel));
    }
    Ok(())
}

#[test]
fn what_finds_no_room_is_an_error() -> Result<(), Box<dyn Error>> {
    let unit = || Axis::linear("x", 0.0, 1.0);
    let area = Rect::new(0, 0, 300, 200);
    let long = "a title that is much too long ".repeat(4);
    assert!(matches!(
        Axes::new(area, &long, unit(), unit(), 2),
        Err(PlotError::TextTooWide { .. })
    ));
    let crowded = unit().with_ticks(&[0.5, 0.501]);
    assert!(matches!(
        Axes::new(area, "", crowded, unit(), 2),
        Err(PlotError::TicksOverlap { .. })
    ));
    assert!(matches!(
        Axes::new(Rect::new(0, 0, 50, 40), "", unit(), unit(), 2),
        Err(PlotError::AreaTooSmall(_))
    ));
    let empty = Axis::linear("x", 1.0, 1.0);
    assert!(matches!(
        Axes::new(area, "", empty, unit(), 2),
        Err(PlotError::BadRange { .. })
    ));
    let zero = Axis::logarithmic("x", 0.0, 1.0);
    assert!(matches!(
        Axes::new(area, "", unit(), zero, 2),
        Err(PlotError::BadRange { .. })
    ));

    let mut canvas = Canvas::new(300, 200, WHITE);
    let axes = Axes::new(area, "", unit(), unit(), 2)?;
    let entry = (Key::Fill(INK), long.as_str());
    assert!(
        axes.legend(&mut canvas, Corner::UpperLeft, &[entry])
            .is_err()
    );
    assert!(
        axes.legend(&mut canvas, Corner::UpperLeft, &[(Key::Fill(INK), "x"); 20])
            .is_err()
    );
    assert!(legend_row(&mut canvas, area, &[entry], 2).is_err());
    assert!(
        Sheet::new("", &["a", "b"], &["c"], 4)
            .render(4, &[])
            .is_err()
    );
    assert_eq!(drawn(&canvas), None);
    Ok(())
}

#[test]
fn a_histogram_counts_what_lies_in_the_panel() -> Result<(), Box<dyn Error>> {
    let axis = || Axis::linear("", -1.0, 1.0);
    let axes = Axes::new(Rect::new(0, 0, 200, 200), "", axis(), axis(), 1)?;
    let points = [
        (-0.5, -0.5),
        (-0.4, -0.1),
        (0.5, 0.5),
        (3.0, 0.0),
        (-3.0, 0.0),
        (f64::NAN, 0.0),
    ];
    assert_eq!(
        axes.histogram(2, 2, &points),
        array![[1.0, 0.0], [0.0, 0.5]]
    );
    assert_eq!(
        axes.tabulate(2, 1, |x, _| x + 1.0),
        array![[1.0 / 3.0, 1.0]]
    );
    Ok(())
}

#[test]
fn a_sheet_stays_in_its_measured_size() -> Result<(), Box<dyn Error>> {
    let digits = Digits::load()?;
    let images = (0..6)
        .map(|row| digits.image(row))
        .collect::<Result<Vec<_>, _>>()?;
    let views: Vec<_> = images.iter().map(|image| image.view()).collect();
    let sheet = Sheet::new(
        "Digits",
        &["first", "a long heading", "x"],
        &["above", "below"],
        5,
    );
    let canvas = sheet.render(10, &views)?;
    assert!(drawn(&canvas).is_some_and(|inked| encloses(canvas.area().inset(9), inked)));
    Ok(())
}
