create table orders (
  id          bigint primary key,
  customer_id bigint not null,
  status      text not null,
  total       numeric(12, 2) not null,
  email       text,
  ordered_at  timestamptz not null,
  due         date,
  paid        boolean not null default false,
  details     jsonb,
  note        text
);
-- A long text that an update does not touch is not sent again: Debezium says "unavailable", Lakemill says "unchanged".
alter table orders alter column note set storage external;
-- There before the connector is: it comes as a snapshot.
insert into orders values
  (1, 7, 'new', 12.50, 'ada@example.com', '2026-01-02 03:04:05+00', '2026-02-01', false, '{"gift": true}', repeat('a long note ', 300)),
  (2, 8, 'paid', 99.00, null, '2026-01-02 03:05:06+00', null, true, null, null);
