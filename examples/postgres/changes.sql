insert into orders values (3, 7, 'new', 5.25, 'grace@example.com', '2026-01-03 10:00:00+00', '2026-02-03', false, '[]', 'short');
update orders set status = 'shipped', total = total + 1.10 where id = 1;
update orders set id = 30 where id = 3;
begin;
insert into orders select n, n % 5, 'new', n * 1.01, 'c' || n || '@example.com', '2026-01-04 00:00:00+00', null, false, null, null
  from generate_series(100, 119) n;
update orders set paid = true, status = 'paid' where id between 100 and 109;
commit;
delete from orders where id = 2;
delete from orders where id between 115 and 119;
