use std::{io, sync::Arc};

use parking_lot::Mutex;

use super::*;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logger(level: LevelFilter) -> (Logger, Sink) {
    let sink = Sink::default();
    (Logger::new(Output::start(sink.clone()).unwrap(), level), sink)
}

fn say(logger: &Logger, level: Level, target: &str, message: fmt::Arguments<'_>) {
    logger.log(&Record::builder().level(level).target(target).args(message).build());
}

fn lines(logger: &Logger, sink: &Sink) -> Vec<serde_json::Value> {
    logger.flush();
    let text = String::from_utf8(sink.0.lock().clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_record_is_a_line() {
    let (logger, sink) = logger(LevelFilter::Info);
    let name = "a\n\"b\"";
    say(&logger, Level::Warn, "portcullis::tls", format_args!("no {name}"));
    say(&logger, Level::Info, "other", format_args!("plain"));
    let lines = lines(&logger, &sink);
    assert_eq!(lines.len(), 2);
    assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
    let fields = ["level", "event", "target", "message"].map(|key| lines[0][key].as_str().unwrap());
    assert_eq!(fields, ["warn", "log", "portcullis::tls", "no a\n\"b\""]);
    assert_eq!(lines[1]["message"], "plain");
    assert!(lines[0].get("suppressed").is_none());
}

#[test]
fn what_a_line_is_found_by_is_a_field_of_its_own() {
    let (logger, sink) = logger(LevelFilter::Info);
    let long = "x".repeat(1000);
    let fields = [("request_id", "r-\"1\"\n"), ("policy", long.as_str()), ("authorization", "SECRET")];
    let number = [("request_id", 7)];
    let (fields, number) = (fields.as_slice(), number.as_slice());
    let mut record = Record::builder();
    record.level(Level::Info).target("plugin");
    logger.log(&record.args(format_args!("named")).key_values(&fields).build());
    logger.log(&record.args(format_args!("no text")).key_values(&number).build());
    let lines = lines(&logger, &sink);
    assert_eq!((&lines[0]["request_id"], &lines[0]["message"]), (&"r-\"1\"\n".into(), &"named".into()));
    assert_eq!(lines[0]["policy"].as_str().map(str::len), Some(MAX_FIELD_BYTES));
    assert!(!lines[0].to_string().contains("SECRET"), "not on the list: {}", lines[0]);
    assert!(lines[1].get("request_id").is_none() && lines[1]["message"] == "no text");
}

#[test]
fn pingora_never_goes_below_info() {
    let (logger, sink) = logger(LevelFilter::Trace);
    for target in ["pingora", "pingora_core::protocols", "pingora_proxy", "h2::codec", "h2"] {
        for level in [Level::Debug, Level::Trace] {
            say(&logger, level, target, format_args!("authorization: Bearer SECRET"));
            assert!(!logger.enabled(&Metadata::builder().level(level).target(target).build()));
        }
        say(&logger, Level::Info, target, format_args!("shown"));
    }
    say(&logger, Level::Trace, "portcullis", format_args!("shown"));
    say(&logger, Level::Debug, "h2o", format_args!("shown"));
    let lines = lines(&logger, &sink);
    assert_eq!(lines.len(), 7);
    assert!(lines.iter().all(|line| line["message"] == "shown"));
}

#[test]
fn the_level_is_a_limit_for_all() {
    let (logger, sink) = logger(LevelFilter::Error);
    say(&logger, Level::Warn, "portcullis", format_args!("hidden"));
    say(&logger, Level::Info, "pingora", format_args!("hidden"));
    say(&logger, Level::Error, "pingora", format_args!("shown"));
    assert_eq!(lines(&logger, &sink).len(), 1);
}

#[test]
fn a_client_cannot_fill_the_log_through_pingora() {
    let (logger, sink) = logger(LevelFilter::Info);
    for number in 0..1000 {
        say(&logger, Level::Error, "pingora_proxy", format_args!("broken connection {number}"));
    }
    say(&logger, Level::Error, "pingora_core", format_args!("another target"));
    for _ in 0..100 {
        say(&logger, Level::Error, "portcullis", format_args!("ours"));
    }
    let lines = lines(&logger, &sink);
    let count = |target: &str| lines.iter().filter(|line| line["target"] == target).count();
    // The loop may meet the end of a second.
    assert!((10..=20).contains(&count("pingora_proxy")), "{}", count("pingora_proxy"));
    assert_eq!((count("pingora_core"), count("portcullis")), (1, 100));
}

#[test]
fn what_was_suppressed_is_counted_in_the_next_line() {
    let place = Place::default();
    let shown = (0..25).filter(|_| place.admit(7) == Some(0)).count();
    assert_eq!(shown, MAX_LINES_PER_SECOND as usize);
    assert_eq!(place.admit(7), None);
    assert_eq!(place.admit(8), Some(16));
    assert_eq!(place.admit(8), Some(0));
}

#[test]
fn a_display_that_logs_does_not_wait_for_itself() {
    struct Chatty<'a>(&'a Logger);
    impl fmt::Display for Chatty<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            say(self.0, Level::Info, "portcullis", format_args!("inner"));
            f.write_str("outer")
        }
    }
    let (logger, sink) = logger(LevelFilter::Info);
    say(&logger, Level::Info, "portcullis", format_args!("{}", Chatty(&logger)));
    let messages: Vec<_> = lines(&logger, &sink).into_iter().map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["inner", "outer"]);
}
