//! Window joins against a model, with checkpoints on the way and restores at other parallelisms.

use tidemill_common::expr::Expr;
use tidemill_common::plan::{JoinKind, WindowJoinSide, WindowJoinSpec};
use tidemill_expr::bind::bind_call;

use super::*;
use crate::operators::window::create_join;

const SIZE: i64 = 10;

#[derive(Clone, Debug)]
enum Step {
    Row {
        side: usize,
        key: Option<i64>,
        value: i64,
        window: i64,
    },
    Watermark(i64),
    Checkpoint,
    /// A checkpoint, and a restore of it at this parallelism.
    Restore {
        parallelism: u32,
        full: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
struct Kept {
    key: Option<i64>,
    value: i64,
    window: i64,
}

fn schema() -> Schema {
    let field = |name: &str, logical: LogicalType| Field::new(name, logical.nullable());
    Schema::new(vec![
        field("k", LogicalType::BigInt),
        field("window_start", LogicalType::Timestamp(3)),
        field("v", LogicalType::BigInt),
        field("window_end", LogicalType::Timestamp(3)),
    ])
}

fn rows_of(rows: &[Kept]) -> RecordBatch {
    let keys: Int64Array = rows.iter().map(|row| row.key).collect();
    let values: Int64Array = rows.iter().map(|row| Some(row.value)).collect();
    let times = |add: i64| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(row.window * SIZE + add)).collect::<TimestampMillisecondArray>())
    };
    let columns: Vec<ArrayRef> = vec![Arc::new(keys), times(0), Arc::new(values), times(SIZE)];
    RecordBatch::try_new(schema().to_arrow(), columns).unwrap()
}

fn spec(kind: JoinKind, keyed: bool, conditional: bool) -> WindowJoinSpec {
    let side = || WindowJoinSide { start: 1, end: 3, keys: if keyed { vec![0] } else { Vec::new() } };
    let big = || LogicalType::BigInt.nullable();
    let condition = conditional.then(|| bind_call(">", vec![Expr::column(2, big()), Expr::column(6, big())]).unwrap());
    let time = WindowTime::RowTime { column: 0, zone: None };
    WindowJoinSpec { kind, left: side(), right: side(), time, condition }
}

fn output(kind: JoinKind) -> Schema {
    let mut fields = schema().fields;
    if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
        fields.extend(schema().fields);
    }
    Schema::new(fields)
}

/// What a window gives.
fn joined(spec: &WindowJoinSpec, window: &[Vec<Kept>; 2]) -> Vec<String> {
    let text = |row: &Kept| {
        let key = row.key.map_or("null".to_owned(), |key| key.to_string());
        format!("{key},{},{},{}", row.window * SIZE, row.value, row.window * SIZE + SIZE)
    };
    let nothing = "null,null,null,null";
    let matches = |left: &Kept, right: &Kept| {
        let equal = spec.left.keys.is_empty() || (left.key.is_some() && left.key == right.key);
        equal && (spec.condition.is_none() || left.value > right.value)
    };
    let [left, right] = window;
    let mut rows = Vec::new();
    for l in left {
        let partners: Vec<&Kept> = right.iter().filter(|r| matches(l, r)).collect();
        match spec.kind {
            JoinKind::Semi if !partners.is_empty() => rows.push(text(l)),
            JoinKind::Anti if partners.is_empty() => rows.push(text(l)),
            JoinKind::Semi | JoinKind::Anti => {}
            _ => rows.extend(partners.iter().map(|r| format!("{},{}", text(l), text(r)))),
        }
        if partners.is_empty() && matches!(spec.kind, JoinKind::Left | JoinKind::Full) {
            rows.push(format!("{},{nothing}", text(l)));
        }
    }
    if matches!(spec.kind, JoinKind::Right | JoinKind::Full) {
        let alone = right.iter().filter(|r| !left.iter().any(|l| matches(l, r)));
        rows.extend(alone.map(|r| format!("{nothing},{}", text(r))));
    }
    rows
}

/// All rows of the run, by the model.
fn model(spec: &WindowJoinSpec, steps: &[Step]) -> Vec<String> {
    let mut windows: BTreeMap<i64, [Vec<Kept>; 2]> = BTreeMap::new();
    let (mut watermark, mut rows) = (i64::MIN, Vec::new());
    for step in steps.iter().cloned().chain([Step::Watermark(i64::MAX)]) {
        match step {
            Step::Row { side, key, value, window } if window * SIZE + SIZE - 1 > watermark => {
                windows.entry(window).or_default()[side].push(Kept { key, value, window });
            }
            Step::Watermark(to) => {
                watermark = watermark.max(to);
                while let Some(first) = windows.first_entry().filter(|w| w.key() * SIZE + SIZE - 1 <= watermark) {
                    rows.extend(joined(spec, &first.remove()));
                }
            }
            Step::Row { .. } | Step::Checkpoint | Step::Restore { .. } => {}
        }
    }
    rows.sort();
    rows
}

/// All rows of the run, by operators.
fn run(spec: &WindowJoinSpec, steps: &[Step], incremental: bool, room: Room) -> Vec<String> {
    let mut store = Store { incremental, room, ..Store::new() };
    let create = |context: &KeyedContext| {
        create_join(spec, [&schema(), &schema()], &output(spec.kind), context, chrono_tz::Tz::UTC).unwrap()
    };
    let mut operators = store.start(None, 1, &create);
    let mut collected = Collected::default();
    for step in steps.iter().cloned().chain([Step::Watermark(i64::MAX)]) {
        match step {
            Step::Row { side, key, value, window } => {
                let records = rows_of(&[Kept { key, value, window }]);
                let group = if spec.left.keys.is_empty() {
                    0
                } else {
                    key_groups(&records.columns()[..1], 1, MAX_PARALLELISM)[0].0
                };
                let parallelism = operators.len() as u32;
                let owns = |index: &u32| {
                    key_group_range(SubtaskIndex(*index), parallelism, MAX_PARALLELISM).contains(&u32::from(group))
                };
                let index = (0..parallelism).find(owns).unwrap();
                operators[index as usize].process_batch(side, Batch::insert(records), &mut collected).unwrap();
            }
            Step::Watermark(to) => {
                for operator in &mut operators {
                    collected.watermark = None;
                    operator.process_watermark(Watermark(to), &mut collected).unwrap();
                }
            }
            Step::Checkpoint => store.snapshot_on_the_way(&mut operators, Fate::Written),
            Step::Restore { parallelism, full } => {
                let kept = store.snapshot(&mut operators, full);
                let parallelism = if spec.left.keys.is_empty() { 1 } else { parallelism };
                operators = store.start(Some(&kept), parallelism, &create);
            }
        }
    }
    let mut rows: Vec<String> = collected.rows.into_iter().map(|(_, row)| row).collect();
    rows.sort();
    rows
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = (0..2usize, prop::option::weighted(0.9, 0..4i64), 0..20i64, 0..6i64)
        .prop_map(|(side, key, value, window)| Step::Row { side, key, value, window });
    let step = prop_oneof![
        12 => row,
        2 => (0..60i64).prop_map(Step::Watermark),
        2 => Just(Step::Checkpoint),
        1 => (1..4u32, any::<bool>()).prop_map(|(parallelism, full)| Step::Restore { parallelism, full }),
    ];
    prop::collection::vec(step, 0..80).prop_map(|mut steps| {
        // Watermarks rise.
        let mut watermark = 0;
        for step in &mut steps {
            if let Step::Watermark(to) = step {
                watermark = watermark.max(*to);
                *to = watermark;
            }
        }
        steps
    })
}

fn kinds() -> impl Strategy<Value = WindowJoinSpec> {
    let kinds = vec![JoinKind::Inner, JoinKind::Left, JoinKind::Right, JoinKind::Full, JoinKind::Semi, JoinKind::Anti];
    (prop::sample::select(kinds), prop::bool::weighted(0.8), any::<bool>())
        .prop_map(|(kind, keyed, conditional)| spec(kind, keyed, conditional))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn joins_with_restores_give_what_the_model_gives(spec in kinds(), steps in steps(), incremental: bool) {
        let expected = model(&spec, &steps);
        for room in [Room::Plenty, Room::None] {
            prop_assert_eq!(&run(&spec, &steps, incremental, room), &expected, "{:?}", room);
        }
    }
}

#[test]
fn many_partners_come_in_batches() {
    let spec = spec(JoinKind::Inner, true, false);
    let create = KeyedContext::alone(MAX_PARALLELISM);
    let mut operator =
        create_join(&spec, [&schema(), &schema()], &output(spec.kind), &create, chrono_tz::Tz::UTC).unwrap();
    let mut collected = Collected::default();
    let rows: Vec<Kept> = (0..300).map(|value| Kept { key: Some(1), value, window: 0 }).collect();
    for side in [0, 1] {
        for rows in rows.chunks(7) {
            operator.process_batch(side, Batch::insert(rows_of(rows)), &mut collected).unwrap();
        }
    }
    operator.process_watermark(Watermark(SIZE - 1), &mut collected).unwrap();
    assert_eq!(collected.rows.len(), 300 * 300);
    assert!(collected.batches.iter().all(|batch| batch.rows() <= 8192));
    // What comes now is late.
    operator.process_batch(0, Batch::insert(rows_of(&rows[..2])), &mut collected).unwrap();
    assert_eq!(operator.late_rows_dropped(), 2);
}

/// A key group has more rows on both sides than there is room for: they are joined block by block.
#[test]
fn a_key_group_that_has_no_room_is_joined_in_blocks() {
    const ROWS: i64 = 9_000;
    let rows = |first: i64| -> Vec<Kept> {
        let row = |key: i64| Kept { key: (key % 10 > 0).then_some(key / 2), value: key * 7 % 200, window: 0 };
        (first..first + ROWS).map(row).collect()
    };
    let sides = [rows(0), rows(500)];
    for kind in [JoinKind::Inner, JoinKind::Full, JoinKind::Semi, JoinKind::Anti] {
        let spec = spec(kind, true, true);
        let mut store = Store { room: Room::None, ..Store::new() };
        let create = |context: &KeyedContext| {
            let context = KeyedContext { max_parallelism: 1, key_groups: 0..1, ..context.clone() };
            create_join(&spec, [&schema(), &schema()], &output(kind), &context, chrono_tz::Tz::UTC).unwrap()
        };
        let mut operators = store.start(None, 1, &create);
        let mut collected = Collected::default();
        for part in 0..3 {
            for (side, rows) in sides.iter().enumerate() {
                let part = &rows[part * 3_000..][..3_000];
                operators[0].process_batch(side, Batch::insert(rows_of(part)), &mut collected).unwrap();
            }
        }
        let kept = store.snapshot(&mut operators, true);
        let mut expected = joined(&spec, &sides);
        expected.sort();
        for mut operators in [operators, store.start(Some(&kept), 1, &create)] {
            operators[0].process_watermark(Watermark(SIZE - 1), &mut collected).unwrap();
            let mut found: Vec<String> = collected.rows.drain(..).map(|(_, row)| row).collect();
            found.sort();
            assert_eq!(found.len(), expected.len(), "{kind:?}");
            assert!(found == expected, "{kind:?}");
        }
    }
}
