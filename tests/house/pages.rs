//! The pages that are read in the repository: each link leads to a file, and to a heading of it, and
//! the README has the figures of the benchmarks.

use std::{fs, path::Path};

const PAGES: [&str; 9] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "RELEASING.md",
    "CHANGELOG.md",
    "benches/README.md",
    "cli/README.md",
    "cli/checks.md",
    "cli/proxy.md",
];

/// A page without its code.
fn without_code(page: &str) -> String {
    let parts = page.split("```").step_by(2);
    parts
        .flat_map(|part| part.split('`').step_by(2))
        .collect::<Vec<_>>()
        .join("code")
}

/// The places that the links of a page name.
fn targets(page: &str) -> Vec<String> {
    let text = without_code(page);
    let places = text.split("](").skip(1);
    let places = places.filter_map(|place| Some(place.split_once(')')?.0.to_owned()));
    places.collect()
}

/// The name of a heading, as hosts of repositories make it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading.chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    kept.collect()
}

/// The links of a page that lead nowhere.
fn broken(name: &str, page: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(name).parent().unwrap();
    let leads_nowhere = |target: &String| {
        if target.contains("://") {
            return false;
        }
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let text = match file {
            "" => Ok(page.to_owned()),
            file if root.join(folder).join(file).is_dir() => Ok(String::new()),
            file => fs::read(root.join(folder).join(file))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        };
        let Ok(text) = text else {
            return true;
        };
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        !heading.is_empty() && !headings.any(|line| anchor(line) == heading)
    };
    targets(page).into_iter().filter(leads_nowhere).collect()
}

#[test]
fn each_link_of_the_pages_leads_somewhere() {
    let mut links = 0;
    for name in PAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        let page = fs::read_to_string(path).unwrap();
        links += targets(&page).len();
        assert_eq!(broken(name, &page), [""; 0], "{name}");
    }
    assert!(links > 40, "{links}");
}

#[test]
fn twin_a_link_that_leads_nowhere_is_seen() {
    let page = "# A heading\n[a](#a-heading) [b](#another) [c](SECURITY.md) [d](MISSING.md) \
                [e](README.md#stores) [f](README.md#shops) [g](cli) `[h](x)`";
    assert_eq!(
        broken("README.md", page),
        ["#another", "MISSING.md", "README.md#shops"]
    );
}

/// The figures of a text, such as `2.37 µs` or `19.1`: numbers with a fraction or a unit of time.
fn figures(text: &str) -> Vec<String> {
    let cells = text.split('|').map(str::trim);
    let starts = cells.filter(|cell| cell.starts_with(|c: char| c.is_ascii_digit()));
    let figures = starts.map(|cell| cell.split(',').next().unwrap());
    let figures = figures.map(|figure| figure.trim_end_matches(" per claim").to_owned());
    figures.collect()
}

#[test]
fn the_figures_of_the_readme_are_those_of_the_benchmarks() {
    let file = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
        fs::read_to_string(path).unwrap()
    };
    let readme = file("README.md");
    let (_, table) = readme.split_once("## Performance\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let figures = figures(table);
    assert_eq!(figures.len(), 9, "{figures:?}");
    let measured = file("benches/README.md");
    for figure in figures {
        assert!(measured.contains(&format!("| {figure} ")), "{figure}");
    }
}
