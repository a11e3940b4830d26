//! The answer to a batch: one item for each that was asked, in order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::code::Code;
use crate::model::ids::DecisionId;
use crate::server::problem::{self, Problem};
use crate::vault::call::{Answer, Refused};

/// `{"items":[{"status":201,"id":"…","decision":"…"},{"status":422,"problem":{…}}]}`
pub(super) fn answer(items: &[Result<Answer, Refused>]) -> Result<Answer, Refused> {
    let items = items.iter().map(|item| match item {
        Ok(answer) => Item { status: problem::item(answer).as_u16(), id: id(answer), decision: answer.decision, problem: None },
        Err(refused) => {
            let problem = Some(Problem::of(refused));
            Item { status: problem::status(refused.code).as_u16(), id: None, decision: None, problem }
        }
    });
    let body = serde_json::to_vec(&Items { items: items.collect() }).map_err(|_| Code::Internal)?;
    Ok(Answer { body: Some(body), ..Answer::default() })
}

/// Answer of a batch.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchAnswer")]
pub(crate) struct Items<'a> {
    /// One for each that was asked, in order.
    items: Vec<Item<'a>>,
}

/// What became of one item.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "BatchItem")]
pub(crate) struct Item<'a> {
    /// As if it had come alone.
    status: u16,
    /// The id of what was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// The entry in the trail; that of a refusal is its problem's `instance`.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionId>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Problem<'a>>,
}

/// The id in what was made; the rest of it can be asked for.
fn id(answer: &Answer) -> Option<&str> {
    #[derive(Deserialize)]
    struct Made<'a> {
        id: &'a str,
    }
    serde_json::from_slice::<Made<'_>>(answer.body.as_deref()?).ok().map(|made| made.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_has_its_own_status_in_the_order_asked() {
        let made = Answer { made: true, body: Some(br#"{"id":"sub_1","state":"active"}"#.to_vec()), ..Answer::default() };
        let items = [Err(Refused::at(Code::InvalidBody, "/class")), Ok(made), Err(Code::AliasTaken.into())];
        let answer = answer(&items).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&answer.body.unwrap()).unwrap();
        assert!(!answer.made);
        assert_eq!(body["items"][0]["status"], 422);
        assert_eq!(body["items"][0]["problem"]["pointer"], "/class");
        assert_eq!(body["items"][1], serde_json::json!({"status": 201, "id": "sub_1"}));
        assert_eq!(body["items"][2]["problem"]["type"], "urn:oubliette:problem:alias-taken");
    }
}
