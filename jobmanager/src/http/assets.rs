//! The page: plain HTML, CSS and JavaScript, which are part of the binary.

use tidemill_http::Content;

macro_rules! asset {
    ($name:literal) => {
        include_str!(concat!("../web/", $name))
    };
}

/// All files of the page, by their paths.
pub const ASSETS: &[(&str, Content, &str)] = &[
    ("/", Content::Html, asset!("index.html")),
    ("/api", Content::Html, asset!("api.html")),
    ("/web/style.css", Content::Css, asset!("style.css")),
    ("/web/icon.svg", Content::Svg, asset!("icon.svg")),
    ("/web/main.js", Content::JavaScript, asset!("main.js")),
    ("/web/dom.js", Content::JavaScript, asset!("dom.js")),
    ("/web/format.js", Content::JavaScript, asset!("format.js")),
    ("/web/client.js", Content::JavaScript, asset!("client.js")),
    ("/web/dialog.js", Content::JavaScript, asset!("dialog.js")),
    ("/web/graph.js", Content::JavaScript, asset!("graph.js")),
    ("/web/jobs.js", Content::JavaScript, asset!("jobs.js")),
    ("/web/job.js", Content::JavaScript, asset!("job.js")),
    ("/web/checkpoints.js", Content::JavaScript, asset!("checkpoints.js")),
    ("/web/taskmanagers.js", Content::JavaScript, asset!("taskmanagers.js")),
    ("/web/config.js", Content::JavaScript, asset!("config.js")),
    ("/web/sql.js", Content::JavaScript, asset!("sql.js")),
    ("/web/api.js", Content::JavaScript, asset!("api.js")),
];

/// The file at a path.
pub fn find(path: &str) -> Option<(Content, &'static str)> {
    ASSETS.iter().find(|(known, ..)| *known == path).map(|(_, content, text)| (*content, *text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_name_is_there_and_nothing_comes_from_elsewhere() {
        for (path, content, text) in ASSETS {
            for quoted in text.split(['"', '\'', '`']) {
                let is_module = quoted.starts_with("./") && quoted.ends_with(".js");
                if is_module {
                    assert!(find(&quoted.replacen('.', "/web", 1)).is_some(), "{path}: {quoted}");
                }
                if quoted.starts_with("/web/") {
                    assert!(find(quoted).is_some(), "{path}: {quoted}");
                }
                let namespace = quoted == "http://www.w3.org/2000/svg";
                assert!(namespace || !quoted.contains("://"), "{path}: {quoted}");
            }
            if *content == Content::Html {
                assert!(
                    !text.contains(" style=") && !text.contains("<style"),
                    "{path}: the policy forbids inline styles"
                );
                assert!(!text.contains(" onclick") && !text.contains("<script>"), "{path}: and inline scripts");
                assert!(text.contains("<html lang=\"en\">") && text.contains("<title>"), "{path}");
            }
        }
    }

    #[test]
    fn data_becomes_text_and_never_markup() {
        for (path, content, text) in ASSETS.iter().filter(|(_, content, _)| *content == Content::JavaScript) {
            for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
                assert!(!text.contains(word), "{path} ({content:?}): {word}");
            }
        }
    }

    #[test]
    fn every_file_of_the_page_is_served() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web");
        let files = std::fs::read_dir(directory).unwrap().count();
        assert_eq!(files, ASSETS.len());
    }
}
