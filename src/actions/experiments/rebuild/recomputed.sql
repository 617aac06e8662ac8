-- The states of experiments once more, independently: a state is folded by the server itself, event by event.
create function lab.step(state jsonb, id text, seq int8, kind text, body jsonb, at timestamptz)
returns jsonb language plpgsql as $$
declare
    now_is text := state ->> 'state';
    text_of text;
    becomes text;
begin
    if seq is null or seq < 1 or at is null or not isfinite(at) or at < '1970-01-01Z' or at > now()
        or kind is null or body is null or jsonb_typeof(body) <> 'object'
        or seq = (state ->> 'version')::int8 or at < (state ->> 'updated_at')::timestamptz
    then
        return state;
    end if;
    if kind in ('created', 'failed') then
        text_of := case kind when 'created' then 'name' else 'error' end;
        if jsonb_typeof(body -> text_of) is distinct from 'string' or trim(body ->> text_of) = '' then
            return state;
        end if;
    end if;
    if kind in ('created', 'configured') and coalesce(jsonb_typeof(body -> 'config'), 'null') not in ('object', 'null')
        or kind = 'configured' and coalesce(jsonb_typeof(body -> 'config'), 'null') = 'null'
        or kind = 'completed' and coalesce(jsonb_typeof(body -> 'result'), 'null') not in ('object', 'null')
    then
        return state;
    end if;
    if kind = 'progressed' then
        if jsonb_typeof(body -> 'progress') is distinct from 'number' then
            return state;
        end if;
        if (body ->> 'progress')::numeric not between 0 and 100 then
            return state;
        end if;
    end if;
    becomes := case
        when kind = 'created' and now_is is null then 'draft'
        when kind = 'configured' and now_is in ('draft', 'paused') then now_is
        when kind = 'started' and now_is = 'draft' then 'running'
        when kind = 'progressed' and now_is = 'running' then 'running'
        when kind = 'paused' and now_is = 'running' then 'paused'
        when kind = 'resumed' and now_is = 'paused' then 'running'
        when kind = 'completed' and now_is = 'running' then 'completed'
        when kind in ('failed', 'cancelled') and now_is in ('draft', 'running', 'paused') then kind
    end;
    if becomes is null then
        return state;
    end if;
    state := coalesce(state, '{}') || jsonb_build_object('state', becomes, 'updated_at', at, 'version', seq);
    if kind = 'created' then
        state := state || jsonb_build_object('name', body -> 'name');
    end if;
    if kind in ('created', 'configured') and jsonb_typeof(body -> 'config') = 'object' then
        state := state || jsonb_build_object('config', body -> 'config');
    end if;
    if kind = 'started' then
        state := state || jsonb_build_object('started_at', at);
    end if;
    if kind = 'progressed' then
        state := state || jsonb_build_object('progress', body -> 'progress');
    end if;
    if kind = 'completed' and jsonb_typeof(body -> 'result') = 'object' then
        state := state || jsonb_build_object('result', body -> 'result');
    end if;
    if kind = 'failed' then
        state := state || jsonb_build_object('error', body -> 'error');
    end if;
    if becomes in ('completed', 'failed', 'cancelled') then
        state := state || jsonb_build_object('ended_at', at);
    end if;
    return state;
end $$;

create aggregate lab.fold(text, int8, text, jsonb, timestamptz) (sfunc = lab.step, stype = jsonb);

create view lab.recomputed as
    select e.experiment_id as id, lab.fold(e.id::text, e.sequence, e.type, e.payload, e.happened_at
        order by e.sequence, e.id) as state
    from lab.experiment_events e where e.experiment_id is not null group by e.experiment_id;
