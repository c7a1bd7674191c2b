//! Which thresholds hold, the finder of degrees, and the graph.

use super::*;
use crate::secagg::finder::{self, Adversity, Degree};

pub(super) struct Thresholds;

#[derive(Serialize, Deserialize)]
pub(super) struct ThresholdInput {
    participants: u16,
    survivors_min: u16,
    threshold: u16,
    colluders: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    neighbours: Option<u16>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ThresholdOutput {
    quorum: u16,
    withstands: String,
}

impl Topic for Thresholds {
    const FILE: &'static str = "thresholds";
    const ABOUT: &'static str =
        "n, m, t, n_C and, on a k-regular graph, k: the quorum q, and which server is withstood.";
    type Given = ();
    type Input = ThresholdInput;
    type Output = ThresholdOutput;

    fn cases() -> Vec<Planned<ThresholdInput>> {
        let whole = |n, m, t, c| ThresholdInput {
            participants: n,
            survivors_min: m,
            threshold: t,
            colluders: c,
            neighbours: None,
        };
        let ring = |n, m, t, c, k| ThresholdInput { neighbours: Some(k), ..whole(n, m, t, c) };
        let complete = "2 to 255 participants on the complete graph";
        let shares = "1 <= t <= n";
        let degree = "k > n - m + n_C and n_C < t <= k - (n - m), or the finder's bounds";
        let even = "k is even, 2 to 254, and below n - 1";
        vec![
            good("two participants", whole(2, 2, 2, 1)),
            good("four, one of whom may be missing", whole(4, 3, 3, 1)),
            good("the largest complete graph", whole(255, 171, 171, 85)),
            good("the least t of 10 with 2 colluders", whole(10, 7, 7, 2)),
            good("a ring that no choice of drop-outs cuts", ring(8, 6, 2, 1, 4)),
            good("1,000 with 102 neighbours: any server", ring(1_000, 950, 51, 50, 102)),
            good("the greatest t at 102 neighbours", ring(1_000, 950, 52, 50, 102)),
            good("1,000 with the finder's 52: a semi-honest server", ring(1_000, 950, 37, 50, 52)),
            good("10,000 with the finder's 62", ring(10_000, 9_500, 44, 500, 62)),
            bad("one participant", complete, "Participants", whole(1, 1, 1, 0)),
            bad("256 on the complete graph", complete, "Participants", whole(256, 200, 200, 0)),
            bad("t = 0", shares, "Threshold", whole(10, 8, 0, 0)),
            bad("t above n", shares, "Threshold", whole(10, 8, 11, 0)),
            bad("m above n", "m <= n", "SurvivorsAboveParticipants", whole(10, 11, 7, 0)),
            bad("m not above n_C", "m > n_C", "SurvivorsAllCollude", whole(10, 7, 7, 7)),
            bad("2t = n + n_C", "2t > n + n_C", "QuorumsMayBeDisjoint", whole(10, 8, 6, 2)),
            bad("m below t", "m >= t", "SurvivorsBelowThreshold", whole(10, 6, 7, 2)),
            bad("10,001 participants", "at most 10,000 participants", "TooMany", ring(10_001, 9_950, 51, 50, 102)),
            bad("an odd k", even, "Neighbours", ring(1_000, 950, 51, 50, 101)),
            bad("k = 0", even, "Neighbours", ring(1_000, 950, 51, 50, 0)),
            bad("k = 256", even, "Neighbours", ring(1_000, 950, 51, 50, 256)),
            bad("k = n - 1", even, "Neighbours", ring(103, 100, 51, 2, 102)),
            bad("the colluders alone hold t shares", degree, "Degree", ring(1_000, 950, 50, 50, 102)),
            bad("the drop-outs leave fewer than t", degree, "Degree", ring(1_000, 950, 53, 50, 102)),
            bad("a ring that can be cut", degree, "Degree", ring(1_000, 950, 12, 50, 20)),
            bad("one share less than the finder's t", degree, "Degree", ring(1_000, 950, 36, 50, 52)),
            bad("two neighbours less than the finder's k", degree, "Degree", ring(1_000, 950, 36, 50, 50)),
            bad("m below q", "m >= q", "SurvivorsBelowThreshold", ring(40, 20, 1, 0, 22)),
        ]
    }

    fn run(_: Option<&()>, input: &ThresholdInput) -> Result<ThresholdOutput, String> {
        let ThresholdInput { participants, survivors_min, threshold, colluders, neighbours } = *input;
        let valid = match neighbours {
            None => ValidThreshold::new(participants, survivors_min, threshold, colluders),
            Some(k) => ValidThreshold::regular(participants, survivors_min, threshold, colluders, k),
        };
        let valid = valid.map_err(|error| variant(&error))?;
        let withstands = match valid.assurance() {
            Assurance::ActiveServer => "active-server",
            Assurance::SemiHonestServer => "semi-honest-server",
        };
        Ok(ThresholdOutput { quorum: valid.quorum(), withstands: withstands.to_owned() })
    }
}

pub(super) struct Finder;

#[derive(Serialize, Deserialize)]
pub(super) struct FinderInput {
    participants: u16,
    colluders: u16,
    drop_outs: u16,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct FinderOutput {
    neighbours: u16,
    threshold: u16,
}

impl Topic for Finder {
    const FILE: &'static str = "finder";
    const ABOUT: &'static str = "The smallest k, with its t, for n participants of whom A collude and D drop out.";
    type Given = ();
    type Input = FinderInput;
    type Output = FinderOutput;

    fn cases() -> Vec<Planned<FinderInput>> {
        let input = |participants, colluders, drop_outs| FinderInput { participants, colluders, drop_outs };
        let none = "some k below n - 1 withstands A and D";
        vec![
            good("100, 5 % and 5 %", input(100, 5, 5)),
            good("1,000, 5 % and 5 %", input(1_000, 50, 50)),
            good("10,000, 5 % and 5 %", input(10_000, 500, 500)),
            good("1,000, 33 % and 5 %", input(1_000, 330, 50)),
            good("10,000, 33 % and 5 %", input(10_000, 3_300, 500)),
            good("1,000, 5 % and 33 %", input(1_000, 50, 330)),
            good("10,000, 30 % and 30 %", input(10_000, 3_000, 3_000)),
            good("nobody colludes or drops out", input(300, 0, 0)),
            good("300, nobody colludes, one drops out", input(300, 0, 1)),
            bad("half collude and two fifths drop out", none, "None", input(20, 10, 8)),
            bad("three participants", none, "None", input(3, 0, 0)),
        ]
    }

    fn run(_: Option<&()>, input: &FinderInput) -> Result<FinderOutput, String> {
        let FinderInput { participants, colluders, drop_outs } = *input;
        let found = finder::find(Adversity { participants, colluders, drop_outs });
        let Degree { neighbours, threshold } = found.ok_or_else(|| "None".to_owned())?;
        Ok(FinderOutput { neighbours, threshold })
    }
}

pub(super) struct Graphs;

#[derive(Serialize, Deserialize)]
pub(super) struct GraphInput {
    sid: Sid,
    participants: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    neighbours: Option<u16>,
    of: Vec<u16>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Neighbourhood {
    of: u16,
    neighbours: Vec<u16>,
    holders: Vec<u16>,
}

impl Topic for Graphs {
    const FILE: &'static str = "graphs";
    const ABOUT: &'static str = "Whom some participants mask against, and who holds shares of their secrets.";
    type Given = ();
    type Input = GraphInput;
    type Output = Vec<Neighbourhood>;

    fn cases() -> Vec<Planned<GraphInput>> {
        let input = |participants, neighbours, of: &[u16]| GraphInput {
            sid: sha256(b"a round"),
            participants,
            neighbours,
            of: of.to_vec(),
        };
        let another = GraphInput { sid: sha256(b"another round"), ..input(12, Some(4), &[1, 2, 12]) };
        vec![
            good("the complete graph of four", input(4, None, &[1, 4])),
            good("a ring of 12, the whole", input(12, Some(4), &(1..=12).collect::<Vec<_>>())),
            good("the ring of another round", another),
            good("as many neighbours as a ring of 12 can have", input(12, Some(10), &[5])),
            good("a ring of 300", input(300, Some(42), &[1, 255, 256, 300])),
            good("a ring of 10,000", input(10_000, Some(62), &[1, 10_000])),
        ]
    }

    fn run(_: Option<&()>, input: &GraphInput) -> Result<Vec<Neighbourhood>, String> {
        let graph = match input.neighbours {
            None => Graph::complete(input.participants),
            Some(neighbours) => Graph::regular(input.participants, neighbours, &input.sid),
        };
        let around = |of: &u16| Neighbourhood {
            of: *of,
            neighbours: numbers(graph.neighbours(number(*of))),
            holders: numbers(graph.holders(number(*of))),
        };
        Ok(input.of.iter().map(around).collect())
    }
}
