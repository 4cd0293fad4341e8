SELECT a.aid, a.abalance, b.bid, b.bbalance, count(DISTINCT t.tid) AS tellers, sum(t.tbalance) AS held,
       coalesce(sum(h.delta), 0) AS moved, max(h.mtime) AS last_moved
FROM pgbench_accounts a
JOIN pgbench_branches b ON b.bid = a.bid
JOIN pgbench_tellers t ON t.bid = b.bid
LEFT JOIN pgbench_history h ON h.aid = a.aid AND h.tid = t.tid
WHERE a.aid = :aid
GROUP BY a.aid, a.abalance, b.bid, b.bbalance;
