//! The demo's servers and what is in them.

use pgsluice::demo::{self, Demo, DemoConfig};

use crate::support::postgres::bindir;

#[test]
fn the_demo_has_the_same_rows_on_both_servers() {
    let config = DemoConfig { bindir: bindir(), parent: std::env::temp_dir() };
    let mut steps = Vec::new();

    let demo = demo::start(&config, &mut |line| steps.push(line.to_owned())).unwrap();

    assert!(steps.last().unwrap().contains(&demo.replica().port().to_string()), "{steps:?}");
    assert_eq!((demo.database(), demo.superuser()), (Demo::DATABASE, "postgres"));
    assert_eq!(demo.password().len(), 32);
    for (server, is_standby) in [(demo.primary(), "f"), (demo.replica(), "t")] {
        let found = server.run(Demo::DATABASE, QUESTIONS).unwrap();
        assert_eq!(
            found.lines().collect::<Vec<_>>(),
            [is_standby, "200000", "150000", "44111412.03"]
        );
        assert!(server.log().contains("ready to accept"), "{}", server.log());
        assert!(server.socket_folder().join(format!(".s.PGSQL.{}", server.port())).exists());
    }
}

const QUESTIONS: &str = "
    SELECT pg_is_in_recovery();
    SELECT count(*) FROM page_views;
    SELECT count(*) FROM order_items;
    SELECT sum(revenue) FROM daily_revenue;
";
