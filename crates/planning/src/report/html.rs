//! The report as one HTML file that fetches nothing: what was saved, charts, the table of the terminal.
//!
//! Every figure is written by the same function as in the terminal, so both say the same, n and interval included.

mod chart;

use cutover_tco::html::page::{escape, item, list, page, table};

use super::compare::Report;
use super::figures::{Figure, Line};
use super::show;

/// The whole page.
pub(super) fn report(report: &Report) -> String {
    let title = format!("Before and after: {}", report.use_case);
    let mut notes = vec![show::BRACKETS.to_owned()];
    notes.extend(report.notes.iter().cloned());
    let body =
        [head(report), chart::all(report), lines(report), list("How to read the figures", &notes)];
    page(
        &title,
        &body.concat(),
        "Made by <code>cutover report</code> from cutover&#39;s own records. Money in US dollars.",
    )
}

fn head(report: &Report) -> String {
    let mut out = format!(
        "<header>\n<p class=\"kicker\">{}</p>\n<h1>{}</h1>\n<ul class=\"reasons\">\n",
        escape(&report.use_case),
        escape(&headline(report)),
    );
    for (name, side) in ["before", "after"].into_iter().zip(&report.sides) {
        out.push_str(&item(&format!("{name}: {side}")));
    }
    for sentence in show::money(report) {
        out.push_str(&item(&sentence));
    }
    out.push_str("</ul>\n</header>\n");
    out
}

/// Only what the interval shows is claimed.
fn headline(report: &Report) -> String {
    let Some(saving) = report.saving else {
        return "The records do not show whether money was saved".to_owned();
    };
    let ends = saving.interval.filter(|i| i.low.is_finite() && i.high.is_finite());
    match ends {
        Some(ends) if ends.low > 0.0 => {
            format!("{} saved on the requests after", show::usd(saving.value))
        }
        Some(ends) if ends.high < 0.0 => {
            format!("{} more spent on the requests after", show::usd(-saving.value))
        }
        _ => "The records do not show whether money was saved".to_owned(),
    }
}

fn lines(report: &Report) -> String {
    let cell = |line: &Line, figure: Option<Figure>, n: bool| {
        figure.map_or("-".to_owned(), |found| {
            let text = show::shown(line.unit, found, n);
            format!("<data value=\"{}\">{}</data>", found.value, escape(&text))
        })
    };
    let rows: Vec<Vec<String>> = report
        .lines
        .iter()
        .map(|line| {
            vec![
                escape(line.name),
                cell(line, line.before, true),
                cell(line, line.after, true),
                cell(line, line.change, false),
            ]
        })
        .collect();
    let table = table(
        "Every figure with its 95 % interval in brackets and the number it rests on",
        &["metric", "before", "after", "change"],
        &rows,
    );
    ["<section>\n<h2>The figures</h2>\n", &table, "</section>\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::Unit;
    use cutover_stats::Interval;
    use cutover_tco::Nano;

    fn figure(value: f64, low: f64, high: f64) -> Figure {
        Figure { value, interval: Some(Interval { low, high }), n: 41 }
    }

    fn sample(saving: Option<Figure>) -> Report {
        let line = |name, unit, before, after| Line {
            name,
            unit,
            before,
            after,
            change: before.zip(after).map(|_| figure(-1.0, -2.0, -0.5)),
        };
        Report {
            use_case: "<script>alert('x')</script> & \"more\"".to_owned(),
            sides: ["from <i>a</i>".to_owned(), "to b".to_owned()],
            lines: vec![
                line("requests", Unit::Count, Some(figure(41.0, 41.0, 41.0)), None),
                line(
                    "cost of 1,000 answers",
                    Unit::Usd,
                    Some(figure(2.5, 2.25, 2.75)),
                    Some(figure(0.25, 0.125, 0.375)),
                ),
                line(
                    "latency p99",
                    Unit::Seconds,
                    Some(figure(1.5, 1.0, f64::INFINITY)),
                    Some(figure(0.5, f64::NEG_INFINITY, 0.75)),
                ),
                line("error rate", Unit::Share, None, Some(figure(0.0, 0.0, 0.07))),
            ],
            saving,
            saving_by_invoices: Some(7.0),
            reconciled: Vec::new(),
            notes: vec!["a <note>".to_owned()],
        }
    }

    #[test]
    fn every_figure_of_the_terminal_is_in_the_page() {
        let report = sample(Some(figure(9.0, 4.0, 14.0)));
        let page = super::report(&report);
        let text = show::text(&report);
        for line in text.lines().filter(|line| line.contains('[')) {
            for cell in line.split("  ").map(str::trim).filter(|cell| cell.contains('[')) {
                assert!(page.contains(&escape(cell)), "{cell} of {text}");
            }
        }
        assert!(
            page.contains("$2.50 [$2.25, $2.75] n=41") && page.contains("1.500 s [1.000 s, ?]")
        );
        assert!(page.contains("<h1>$9.00 saved on the requests after</h1>"), "{page}");
        assert!(
            page.contains("Saved on the requests after, by the records: $9.00 [$4.00, $14.00]")
        );
        assert_eq!(page.matches("<svg ").count(), 3, "cost, latency, shares");
        assert_eq!(
            (page.matches("class=\"dot\"").count(), page.matches("<table>").count()),
            (5, 1)
        );
        assert!(!page.contains("NaN") && !page.contains("=\"inf") && !page.contains("=\"-inf"));
    }

    #[test]
    fn names_are_escaped_and_nothing_is_fetched() {
        let page = report(&sample(None));
        assert!(
            page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; &quot;more&quot;")
        );
        assert!(page.contains("a &lt;note&gt;") && page.contains("from &lt;i&gt;a&lt;/i&gt;"));
        for bad in ["<script", "<i>a", "http:", "https:", "url(", "src=", "href=", "@import"] {
            assert!(!page.contains(bad), "{bad}");
        }
    }

    #[test]
    fn a_saving_is_claimed_only_where_its_interval_shows_one() {
        let unclear = "<h1>The records do not show whether money was saved</h1>";
        for (saving, wanted) in [
            (None, unclear),
            (Some(figure(9.0, -1.0, 19.0)), unclear),
            (Some(figure(9.0, 4.0, f64::INFINITY)), unclear),
            (Some(Figure { value: 9.0, interval: None, n: 2 }), unclear),
            (Some(figure(-9.0, -14.0, -4.0)), "<h1>$9.00 more spent on the requests after</h1>"),
        ] {
            assert!(report(&sample(saving)).contains(wanted), "{saving:?}");
        }
    }

    #[test]
    fn money_of_invoices_is_told_as_in_the_terminal() {
        let mut report = sample(None);
        report.reconciled.push(crate::report::compare::Reconciled {
            side: "before",
            records: Nano::whole(3),
            invoice: Nano::whole(4),
            unpriced: 2,
        });
        let sentence = "before: the records say $3.00, the invoice $4.00: $1.00 differ (2 answers have no price)";
        assert!(
            super::report(&report).contains(sentence) && show::text(&report).contains(sentence)
        );
    }
}
