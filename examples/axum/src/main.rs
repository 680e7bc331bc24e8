//! A web server whose state has a cache: of all requests that need an answer at once, one asks for it, in this process or
//! another one behind the same balancer, and what was asked for before is answered from memory.
//!
//! ```text
//! cargo run          # in this directory
//! curl 'http://127.0.0.1:3000/answer?question=why'
//! curl 'http://127.0.0.1:3000/stats'
//! ```

use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use cachemere::{AsyncCache, Cache, CallKey, memoize};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Answer {
    text: String,
    tokens: u32,
}

/// What all requests share. Clones of a cache are the same cache.
#[derive(Clone)]
struct Service {
    answers: AsyncCache<CallKey, Answer>,
    model: String,
}

impl Service {
    /// An error of the upstream is not kept: the next request asks again.
    #[memoize(cache = self.answers, key = (&self.model, question), version = 1, ttl = Duration::from_secs(86_400))]
    async fn ask(&self, question: &str) -> Result<Answer, Failed> {
        if question.is_empty() {
            return Err(Failed("there is no question".to_owned()));
        }
        // Some request to a server. If the client goes away meanwhile and this is dropped, the next one in line asks.
        tokio::task::yield_now().await;
        Ok(Answer { text: format!("{} does not know {question}", self.model), tokens: 5 })
    }
}

#[derive(Debug)]
struct Failed(String);

impl From<cachemere::Error> for Failed {
    fn from(error: cachemere::Error) -> Failed {
        Failed(error.to_string())
    }
}

#[derive(Deserialize)]
struct Asked {
    question: String,
}

async fn answer(
    State(service): State<Service>,
    Query(asked): Query<Asked>,
) -> Result<Json<Answer>, (StatusCode, String)> {
    let answer = service.ask(&asked.question).await;
    answer.map(Json).map_err(|Failed(why)| (StatusCode::BAD_GATEWAY, why))
}

async fn stats(State(service): State<Service>) -> Result<String, (StatusCode, String)> {
    let stats = service.answers.stats().await;
    let stats = stats.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(format!("{} answers, {} hits, {} misses\n", stats.entries, stats.hits, stats.misses))
}

fn router(service: Service) -> Router {
    Router::new().route("/answer", get(answer)).route("/stats", get(stats)).with_state(service)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::builder(std::env::temp_dir().join("cachemere-axum")).max_bytes(256 << 20).open()?;
    let service = Service { answers: cache.into(), model: "m-1".to_owned() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("http://{}/answer?question=why", listener.local_addr()?);
    let ends = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    axum::serve(listener, router(service.clone())).with_graceful_shutdown(ends).await?;
    // Makes all that was written safe from a power loss, and tells of errors.
    Ok(service.answers.close().await?)
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn requested(router: &Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        (status, String::from_utf8(to_bytes(response.into_body(), 10_000).await.unwrap().to_vec()).unwrap())
    }

    #[tokio::test]
    async fn answers_are_asked_for_once_and_errors_again() {
        let dir = tempfile::tempdir().unwrap();
        let answers = Cache::builder(dir.path()).open().unwrap().into();
        let router = router(Service { answers, model: "m-1".to_owned() });
        for _ in 0..2 {
            let (status, body) = requested(&router, "/answer?question=why").await;
            assert_eq!(
                (status, body.as_str()),
                (StatusCode::OK, r#"{"text":"m-1 does not know why","tokens":5}"#)
            );
            let (status, body) = requested(&router, "/answer?question=").await;
            assert_eq!((status, body.as_str()), (StatusCode::BAD_GATEWAY, "there is no question"));
        }
        assert_eq!(requested(&router, "/stats").await.1, "1 answers, 1 hits, 3 misses\n");
    }
}
