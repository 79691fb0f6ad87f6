//! What a keyed exchange costs: rows of four BIGINT columns from `P` producers to `C` consumers by the
//! hash of the first, in one process, and over loopback TCP where every row crosses the network.
//!
//! `shuffle [million rows] [producers] [consumers]`

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use tidemill_common::batch::{Batch, StreamElement};
use tidemill_common::ids::{AttemptId, JobId, OperatorId, SubtaskId, SubtaskIndex, TaskId, TaskManagerId};
use tidemill_common::job_graph::JobGraph;
use tidemill_common::limits::BATCH_ROWS_TARGET;
use tidemill_common::plan::{
    CalcSpec, ChangelogMode, OperatorKind, PLAN_VERSION, Partitioning, PlanEdge, PlanOperator, StreamPlan,
};
use tidemill_common::types::{Field, LogicalType, Schema};
use tidemill_taskmanager::executor::{Compression, ExecutorConfig};
use tidemill_taskmanager::metrics::TaskMetrics;
use tidemill_taskmanager::shuffle::network::{ChannelKey, Network};
use tidemill_taskmanager::shuffle::{
    Decoder, Delivery, Exchange, Inbox, Outputs, Received, Router, Target, channel_of, input_channels, receivers,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Local,
    Network,
    NetworkLz4,
}

fn schema() -> Schema {
    Schema::new((0..4).map(|column| Field::new(format!("c{column}"), LogicalType::BigInt.nullable())).collect())
}

fn plan(producers: u32, consumers: u32) -> StreamPlan {
    let operator = |id: u32, inputs: Vec<PlanEdge>, parallelism: u32| PlanOperator {
        id: OperatorId(id),
        uid: id.to_string(),
        name: id.to_string(),
        kind: OperatorKind::Calc(CalcSpec { filter: None, projection: Vec::new() }),
        inputs,
        schema: schema(),
        parallelism,
        changelog: ChangelogMode::InsertOnly,
        upsert_key: None,
        state: Vec::new(),
    };
    let edge = PlanEdge { from: OperatorId(0), partitioning: Partitioning::Hash { keys: vec![0] } };
    StreamPlan {
        version: PLAN_VERSION,
        name: "shuffle".to_owned(),
        operators: vec![operator(0, Vec::new(), producers), operator(1, vec![edge], consumers)],
        options: Default::default(),
        max_parallelism: 128,
    }
}

/// Seconds of CPU time of this process.
fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / 100.0)
}

fn main() -> anyhow::Result<()> {
    let number = |at: usize, otherwise: u64| std::env::args().nth(at).map_or(Ok(otherwise), |text| text.parse::<u64>());
    let (millions, producers, consumers) = (number(1, 20)?, number(2, 2)? as u32, number(3, 2)? as u32);
    for way in [Way::Local, Way::Network, Way::NetworkLz4] {
        run(way, millions * 1_000_000, producers, consumers)?;
    }
    Ok(())
}

fn run(way: Way, rows: u64, producers: u32, consumers: u32) -> anyhow::Result<()> {
    let io = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let plan = plan(producers, consumers);
    let graph = JobGraph::new(&plan);
    let config = ExecutorConfig {
        id: TaskManagerId::from("bench"),
        data_bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        data_host: "127.0.0.1".to_owned(),
        io: io.handle().clone(),
        compression: if way == Way::NetworkLz4 { Compression::Lz4 } else { Compression::None },
        store: Default::default(),
        scratch: std::env::temp_dir(),
        copies: std::sync::Arc::new(tidemill_state::storage::LocalCopies::new(&std::env::temp_dir(), "test")),
        memory: tidemill_taskmanager::memory::MemoryBudget::of_machine(),
        lease: tidemill_connectors::lease::Lease::unlimited(),
    };
    let (sending, receiving) = (Network::start(&config)?, Network::start(&config)?);
    let (job, attempt) = (JobId::from("bench"), AttemptId(1));
    let id = |task, index| SubtaskId { task: TaskId(task), index: SubtaskIndex(index) };
    let inboxes: Vec<Arc<Inbox>> = (0..consumers)
        .map(|index| {
            let inbox = Arc::new(Inbox::new(input_channels(&graph, id(1, index)).len()));
            receiving.register(&job, attempt, &graph, id(1, index), &inbox);
            inbox
        })
        .collect();
    let columns = (0..4i64).map(|column| {
        let values =
            (0..BATCH_ROWS_TARGET as i64).map(|row| row.wrapping_mul(0x9e37_79b9_7f4a_7c15u64 as i64) ^ column);
        Arc::new(Int64Array::from_iter_values(values)) as ArrayRef
    });
    let batch = Batch::insert(RecordBatch::try_new(schema().to_arrow(), columns.collect())?);
    let batches = rows / u64::from(producers) / BATCH_ROWS_TARGET as u64;
    let arrived = AtomicU64::new(0);
    let (since, cpu) = (Instant::now(), cpu_seconds()?);
    std::thread::scope(|scope| -> anyhow::Result<()> {
        for inbox in &inboxes {
            let (arrived, decoder) = (&arrived, Decoder::new(schema().to_arrow()));
            scope.spawn(move || {
                let mut open = producers;
                while open > 0 {
                    let Received::Element { delivery, .. } = inbox.next(None, |wait| wait()) else { continue };
                    let element = match delivery {
                        Delivery::Element(element) => Ok(element),
                        Delivery::Frame { header, body } => decoder.decode(&header, body),
                        Delivery::Aborted => return,
                    };
                    match element {
                        Ok(StreamElement::Batch(batch)) => {
                            arrived.fetch_add(batch.rows() as u64, Ordering::Relaxed);
                        }
                        Ok(StreamElement::EndOfPartition) => open -= 1,
                        Ok(_) => {}
                        Err(error) => return eprintln!("{error}"),
                    }
                }
            });
        }
        for index in 0..producers {
            let edge = &graph.edges[0];
            let from = id(0, index);
            let targets = receivers(&graph, edge, from.index).into_iter().filter_map(|to| {
                let channel = channel_of(&graph, edge.index, from, to)?;
                Some(if way == Way::Local {
                    Target::Local { inbox: inboxes[to.index.0 as usize].clone(), channel }
                } else {
                    let key = ChannelKey { job: job.clone(), attempt, edge: 0, from, to };
                    let lost = Box::new(|cause| eprintln!("{cause}"));
                    Target::Remote(sending.open(&receiving.address(), &key, lost, false))
                })
            });
            let router = Router::new(&edge.partitioning, index, consumers, plan.max_parallelism);
            let exchange = Exchange::new(router, targets.collect());
            let metrics = Arc::new(TaskMetrics::new(job.clone(), attempt, from, [OperatorId(0)]));
            let mut outputs = Outputs::new(vec![exchange], Arc::new(AtomicBool::new(false)), metrics, Arc::default());
            let batch = batch.clone();
            scope.spawn(move || {
                let sent = (0..batches)
                    .try_for_each(|_| outputs.emit(batch.clone()))
                    .and_then(|()| outputs.end_of_data(true))
                    .and_then(|()| outputs.end());
                if let Err(error) = sent {
                    eprintln!("{error}");
                }
            });
        }
        Ok(())
    })?;
    let (seconds, cpu) = (since.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let arrived = arrived.load(Ordering::Relaxed);
    anyhow::ensure!(arrived == batches * u64::from(producers) * BATCH_ROWS_TARGET as u64, "{arrived} rows arrived");
    let millions = arrived as f64 / 1e6;
    println!(
        "{way:?}: {producers} -> {consumers}, {millions:.1} M rows: {:.1} M rows/s, {:.4} CPU s/M",
        millions / seconds,
        cpu / millions
    );
    sending.stop();
    receiving.stop();
    Ok(())
}
