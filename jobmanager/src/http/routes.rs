//! The list of what the API has. `openapi.json` describes it; a test compares the two.

use tidemill_http::Method;

/// The description of the API.
pub const OPENAPI: &str = include_str!("openapi.json");

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    OpenApi,
    Cluster,
    Targets,
    Config,
    ListJobs,
    SubmitJobs,
    DescribeJob,
    JobSubtasks,
    JobCheckpoints,
    JobEvents,
    JobConfig,
    CancelJob,
    StopJob,
    SavepointJob,
    RescaleJob,
    Explain,
    Preview,
}

/// Whether a call changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
}

/// Where the id of a job stands in a path.
const JOB: &str = "{job}";

/// All routes: the parts of their paths.
pub const ROUTES: &[(Verb, &[&str], Call)] = &[
    (Verb::Get, &["api", "v1", "openapi.json"], Call::OpenApi),
    (Verb::Get, &["api", "v1", "cluster"], Call::Cluster),
    (Verb::Get, &["api", "v1", "prometheus-targets"], Call::Targets),
    (Verb::Get, &["api", "v1", "config"], Call::Config),
    (Verb::Get, &["api", "v1", "jobs"], Call::ListJobs),
    (Verb::Post, &["api", "v1", "jobs"], Call::SubmitJobs),
    (Verb::Get, &["api", "v1", "jobs", JOB], Call::DescribeJob),
    (Verb::Get, &["api", "v1", "jobs", JOB, "subtasks"], Call::JobSubtasks),
    (Verb::Get, &["api", "v1", "jobs", JOB, "checkpoints"], Call::JobCheckpoints),
    (Verb::Get, &["api", "v1", "jobs", JOB, "events"], Call::JobEvents),
    (Verb::Get, &["api", "v1", "jobs", JOB, "config"], Call::JobConfig),
    (Verb::Post, &["api", "v1", "jobs", JOB, "cancel"], Call::CancelJob),
    (Verb::Post, &["api", "v1", "jobs", JOB, "stop"], Call::StopJob),
    (Verb::Post, &["api", "v1", "jobs", JOB, "savepoints"], Call::SavepointJob),
    (Verb::Post, &["api", "v1", "jobs", JOB, "rescale"], Call::RescaleJob),
    (Verb::Post, &["api", "v1", "sql", "explain"], Call::Explain),
    (Verb::Post, &["api", "v1", "sql", "preview"], Call::Preview),
];

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// With the job that the path names.
    Route(Call, Option<String>),
    OtherMethod(&'static str),
    Nothing,
}

/// Looks for a route.
pub fn find(method: &Method, segments: &[&str]) -> Found {
    let matches = |path: &[&str]| {
        path.len() == segments.len()
            && path.iter().zip(segments).all(|(part, segment)| *part == JOB && !segment.is_empty() || part == segment)
    };
    let mut other = None;
    for (verb, path, call) in ROUTES.iter().filter(|(_, path, _)| matches(path)) {
        let is_it = match verb {
            Verb::Get => method == Method::GET,
            Verb::Post => method == Method::POST,
        };
        if is_it {
            let job = path.iter().position(|part| *part == JOB).map(|index| segments[index].to_owned());
            return Found::Route(*call, job);
        }
        other = match (other, verb) {
            (None, Verb::Get) => Some("GET"),
            (None, Verb::Post) => Some("POST"),
            (Some(_), _) => Some("GET, POST"),
        };
    }
    other.map_or(Found::Nothing, Found::OtherMethod)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn routes_are_found_by_method_and_path() {
        let parts = |path: &'static str| path.trim_matches('/').split('/').collect::<Vec<_>>();
        assert_eq!(find(&Method::GET, &parts("/api/v1/jobs")), Found::Route(Call::ListJobs, None));
        assert_eq!(
            find(&Method::POST, &parts("/api/v1/jobs/4f/stop")),
            Found::Route(Call::StopJob, Some("4f".to_owned()))
        );
        assert_eq!(find(&Method::DELETE, &parts("/api/v1/jobs")), Found::OtherMethod("GET, POST"));
        assert_eq!(find(&Method::GET, &parts("/api/v1/jobs/4f/stop")), Found::OtherMethod("POST"));
        assert_eq!(find(&Method::GET, &parts("/api/v1/jobs//stop")), Found::Nothing);
        assert_eq!(find(&Method::GET, &parts("/api/v2/jobs")), Found::Nothing);
    }

    #[test]
    fn the_description_has_every_route_and_no_other() {
        let described: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let described: BTreeSet<String> = described["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
            })
            .collect();
        let common = ["get /metrics", "get /healthz", "get /readyz"].map(str::to_owned);
        let verb = |verb: &Verb| if *verb == Verb::Get { "get" } else { "post" };
        let routes = ROUTES.iter().map(|(method, path, _)| format!("{} /{}", verb(method), path.join("/")));
        assert_eq!(described, routes.chain(common).collect());
    }

    #[test]
    fn what_the_description_refers_to_is_there() {
        let described: serde_json::Value = serde_json::from_str(OPENAPI).unwrap();
        let mut references = BTreeSet::new();
        fn walk(value: &serde_json::Value, references: &mut BTreeSet<String>) {
            if let Some(reference) = value.get("$ref").and_then(|reference| reference.as_str()) {
                references.insert(reference.to_owned());
            }
            let children: Vec<_> = match value {
                serde_json::Value::Array(items) => items.iter().collect(),
                serde_json::Value::Object(members) => members.values().collect(),
                _ => Vec::new(),
            };
            children.into_iter().for_each(|child| walk(child, references));
        }
        walk(&described, &mut references);
        assert!(references.len() > 10);
        for reference in references {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(described.pointer(pointer).is_some(), "{reference}");
        }
    }
}
