use tidemill_common::ids::AttemptId;

use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn objects_are_written_listed_read_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::open(folder.path().to_str().unwrap(), &StoreOptions::new()).unwrap();
    let child = directory.child("job/chk-1");
    runtime().block_on(async {
        child.put("a", "one").await.unwrap();
        directory.put("b", "two").await.unwrap();
        assert_eq!(directory.list().await.unwrap(), ["b", "job/chk-1/a"]);
        assert_eq!(child.get("a").await.unwrap(), "one");
        child.put_if_absent("m", "first").await.unwrap();
        assert!(matches!(child.put_if_absent("m", "second").await, Err(StorageError::Exists { .. })));
        assert_eq!(child.get("m").await.unwrap(), "first");
        child.delete("a").await.unwrap();
        child.delete("a").await.unwrap();
        let missing = child.get("a").await.unwrap_err();
        assert!(matches!(&missing, StorageError::NotFound { url } if url.ends_with("job/chk-1/a")), "{missing}");
    });
}

#[test]
fn files_are_verified_wherever_the_directory_was_moved() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let here = folder.path().join("here");
    std::fs::create_dir(&here).unwrap();
    let directory = Directory::open(here.to_str().unwrap(), &StoreOptions::new()).unwrap();
    let writer = FileWriter::new(directory, runtime.handle().clone(), true);
    let large: Bytes = (0..200_000u32).map(|n| n as u8).collect();
    let written = [writer.write(large.clone(), 0..64, 1).unwrap(), writer.write("small".into(), 64..128, 1).unwrap()];
    assert!(written[1].inline.is_some());
    let there = folder.path().join("there");
    std::fs::rename(&here, &there).unwrap();
    let moved = Directory::open(there.to_str().unwrap(), &StoreOptions::new()).unwrap();
    let reader = FileReader::new(moved, StoreOptions::new(), runtime.handle().clone());
    assert_eq!(reader.read(&written[0]).unwrap(), large);
    assert_eq!(reader.read(&written[1]).unwrap(), "small");
    let path = there.join(&written[0].location);
    let mut content = std::fs::read(&path).unwrap();
    content[77] ^= 4;
    std::fs::write(&path, &content).unwrap();
    let error = reader.read(&written[0]).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    std::fs::write(&path, &content[..10]).unwrap();
    assert!(reader.read(&written[0]).unwrap_err().to_string().contains("10 bytes"));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(reader.read(&written[0]), Err(StorageError::NotFound { .. })));
}

#[test]
fn odd_places_are_refused() {
    let options = StoreOptions::new();
    for text in ["relative/path", "ftp://host/x", "s3:///nobucket"] {
        let error = Directory::open(text, &options).unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
    }
}

/// Classic bug 9 (FLINK-29913): shared files of different content get the same name.
#[test]
fn bug_9_no_two_files_have_one_name() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime();
    let directory = Directory::open(folder.path().to_str().unwrap(), &StoreOptions::new()).unwrap();
    let contents: Vec<Bytes> = (0..8u8).map(|byte| vec![byte; 100_000].into()).collect();
    let mut written = Vec::new();
    // Subtasks of one attempt, each with files of the same sequence and key groups; and one tried again.
    for content in &contents {
        let writer = FileWriter::new(directory.clone(), runtime.handle().clone(), false).of_attempt(AttemptId(1));
        written.push((content, writer.write(content.clone(), 0..64, 1).unwrap()));
        written.push((content, writer.write(content.clone(), 0..64, 1).unwrap()));
    }
    let names: std::collections::BTreeSet<_> = written.iter().map(|(_, file)| file.location.clone()).collect();
    assert_eq!(names.len(), written.len());
    let reader = FileReader::new(directory, StoreOptions::new(), runtime.handle().clone());
    for (content, file) in &written {
        assert_eq!(reader.read(file).unwrap(), *content);
    }
}
