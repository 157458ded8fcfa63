-- The generation of each board, in their order, that the user's last success with these parameters saw; 0 for none.
with last as materialized (
    select coalesce(result -> 'boards', result -> 'sources') as boards
    from foxtrot.runs
    where user_id = %(user_id)s
        and fingerprint = %(fingerprint)s
        and status = 'success'
        and result is not null
        and expires_at > now()
    order by finished_at desc, id desc
    limit 1
)
select array(
    select coalesce(seen.generation, 0)
    from unnest(%(sources)s::text[], %(boards)s::text[]) with ordinality as asked (source, board, place)
    left join (
        select seen.*
        from last
        cross join jsonb_to_recordset(last.boards) as seen (source text, board text, generation bigint)
    ) as seen using (source, board)
    order by asked.place
) as seen
