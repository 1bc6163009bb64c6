%% Drives OTP's supervisor through generated scenarios and prints one JSON line each.
%%
%% Guarantees: the same seed gives the same scenarios. Every start and every ordered stop is reported by the child itself, and
%% acknowledged before it goes on, so the order in the trace is the order in which the supervisor acted.
%% Restart windows are an hour: no trace depends on time.
-module(supervisor_traces).
-behaviour(supervisor).
-export([main/1, init/1, start_toy/2]).

-define(PERIOD_S, 3600).
-define(SHUTDOWN_MS, 5000).
-define(CHILDREN_MAX, 5).
-define(STEPS_MAX, 8).

main([Count, Seed]) ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    [io:put_chars([scenario(N, list_to_integer(Seed) + N), $\n]) || N <- lists:seq(1, list_to_integer(Count))].

%% ---- one scenario ----

scenario(N, Seed) ->
    rand:seed(exsss, {Seed, Seed * 7919, 104729}),
    Strategy = pick([one_for_one, one_for_all, rest_for_one]),
    Intensity = rand:uniform(6) - 1,
    Children = [{Id, restart_type()} || Id <- lists:sublist(ids(), rand:uniform(?CHILDREN_MAX))],
    Journal = spawn_link(fun() -> journal(#{}, []) end),
    FirstFaults = case rand:uniform(12) of 1 -> [{element(1, pick(Children)), 1}]; _ -> [] end,
    set_faults(Journal, FirstFaults),
    Started = supervisor:start_link(?MODULE, {Strategy, Intensity, Children, Journal}),
    First = first(Started, Journal, FirstFaults),
    Steps = case Started of
        {ok, Sup} -> steps(Sup, Journal, rand:uniform(?STEPS_MAX));
        {error, _} -> receive {'EXIT', _, _} -> [] after 1000 -> [] end
    end,
    unlink(Journal),
    exit(Journal, kill),
    object([{"scenario", integer(N)}, {"seed", integer(Seed)}, {"strategy", string(Strategy)}, {"intensity", integer(Intensity)},
            {"children", list([pair(string(Id), string(R)) || {Id, R} <- Children])},
            {"steps", list([First | Steps])}]).

first({ok, Sup}, Journal, Faults) -> report("boot", "", "", Faults, "ok", Journal, Sup);
first({error, _}, Journal, Faults) -> report("boot", "", "", Faults, "failed", Journal, none).

steps(_, _, 0) -> [];
steps(Sup, Journal, Left) ->
    Listed = listing(Sup),
    Running = [{Id, Pid} || {Id, Pid} <- Listed, is_pid(Pid)],
    case {rand:uniform(10), Running} of
        {Dice, [_ | _]} when Dice =< 6 -> exit_step(Sup, Journal, Left, pick(Running));
        {10, _} -> stop_step(Sup, Journal);
        _ -> call_step(Sup, Journal, Left)
    end.

%% A child ends by itself.
exit_step(Sup, Journal, Left, {Id, Pid}) ->
    Reason = pick([normal, shutdown, killed, failed, failed]),
    Faults = [{F, rand:uniform(3)} || F <- ids(), rand:uniform(6) =:= 1],
    set_faults(Journal, Faults),
    Monitor = monitor(process, Pid),
    case Reason of
        killed -> exit(Pid, kill);
        _ -> Pid ! {finish, Reason}
    end,
    receive {'DOWN', Monitor, _, _, _} -> ok end,
    Alive = settle(Sup, Pid),
    Step = report("exit", Id, atom_to_list(Reason), Faults, "", Journal, Alive),
    set_faults(Journal, []),
    [Step | case Alive of none -> []; _ -> steps(Sup, Journal, Left - 1) end].

%% A caller asks.
call_step(Sup, Journal, Left) ->
    Id = pick(ids()),
    Restart = restart_type(),
    {Verb, Detail, Answer} = case rand:uniform(4) of
        1 -> {"terminate", "", supervisor:terminate_child(Sup, Id)};
        2 -> {"restart", "", supervisor:restart_child(Sup, Id)};
        3 -> {"delete", "", supervisor:delete_child(Sup, Id)};
        4 -> {"start", atom_to_list(Restart), supervisor:start_child(Sup, spec({Id, Restart}, Journal))}
    end,
    [report(Verb, Id, Detail, [], answer(Answer), Journal, Sup) | steps(Sup, Journal, Left - 1)].

%% The supervisor is told to stop.
stop_step(Sup, Journal) ->
    exit(Sup, shutdown),
    receive {'EXIT', Sup, _} -> ok end,
    [report("stop", "", "", [], "", Journal, none)].

answer(ok) -> "ok";
answer({ok, _}) -> "ok";
answer({error, {already_started, _}}) -> "already_started";
answer({error, Why}) when is_atom(Why) -> atom_to_list(Why);
answer({error, _}) -> "failed".

%% Waits until the supervisor has seen the exit and no restart is under way. `none` when it has given up.
settle(Sup, Old) ->
    try [Pid || {_, Pid} <- listing(Sup), Pid =:= Old orelse Pid =:= restarting] of
        [] -> Sup;
        _ -> settle(Sup, Old)
    catch exit:_ ->
        receive {'EXIT', Sup, shutdown} -> none end
    end.

%% In start order.
listing(Sup) ->
    [{Id, Pid} || {Id, Pid, _, _} <- lists:reverse(supervisor:which_children(Sup))].

report(Verb, Id, Detail, Faults, Answer, Journal, Sup) ->
    Deeds = ask(Journal, flush),
    After = case Sup of
        none -> "null";
        _ -> list([pair(string(I), case is_pid(P) of true -> "true"; false -> "false" end) || {I, P} <- listing(Sup)])
    end,
    object([{"do", string(Verb)}, {"id", string(Id)}, {"how", string(Detail)},
            {"faults", object([{atom_to_list(F), integer(C)} || {F, C} <- Faults])},
            {"answer", string(Answer)}, {"deeds", list([string(D) || D <- Deeds])}, {"running", After}]).

%% ---- the supervisor and its children ----

init({Strategy, Intensity, Children, Journal}) ->
    Flags = #{strategy => Strategy, intensity => Intensity, period => ?PERIOD_S},
    {ok, {Flags, [spec(Child, Journal) || Child <- Children]}}.

spec({Id, Restart}, Journal) ->
    #{id => Id, start => {?MODULE, start_toy, [Id, Journal]}, restart => Restart, shutdown => ?SHUTDOWN_MS}.

start_toy(Id, Journal) ->
    case ask(Journal, {start, Id}) of
        ok -> proc_lib:start_link(erlang, apply, [fun() -> toy(Id, Journal) end, []]);
        fail -> {error, no_start_today}
    end.

toy(Id, Journal) ->
    process_flag(trap_exit, true),
    proc_lib:init_ack({ok, self()}),
    receive
        {finish, failed} -> exit(boom);
        {finish, Reason} -> exit(Reason);
        {'EXIT', _, shutdown} -> ask(Journal, {stop, Id}), exit(shutdown)
    end.

%% Counts faults down and keeps the deeds of a step.
journal(Faults, Deeds) ->
    receive
        {From, Ref, {faults, New}} -> From ! {Ref, ok}, journal(New, Deeds);
        {From, Ref, {stop, Id}} -> From ! {Ref, ok}, journal(Faults, [["-", atom_to_list(Id)] | Deeds]);
        {From, Ref, flush} -> From ! {Ref, lists:reverse(Deeds)}, journal(Faults, []);
        {From, Ref, {start, Id}} ->
            case maps:get(Id, Faults, 0) of
                0 -> From ! {Ref, ok}, journal(Faults, [["+", atom_to_list(Id)] | Deeds]);
                Left -> From ! {Ref, fail}, journal(Faults#{Id => Left - 1}, [["!", atom_to_list(Id)] | Deeds])
            end
    end.

ask(Journal, Question) ->
    Ref = make_ref(),
    Journal ! {self(), Ref, Question},
    receive {Ref, Answer} -> Answer end.

set_faults(Journal, Faults) -> ask(Journal, {faults, maps:from_list(Faults)}).

%% ---- words ----

ids() -> [a, b, c, d, e, f].

restart_type() -> pick([permanent, permanent, transient, temporary]).

pick(List) -> lists:nth(rand:uniform(length(List)), List).

string(Atom) when is_atom(Atom) -> string(atom_to_list(Atom));
string(Text) -> [$", Text, $"].

integer(N) -> integer_to_list(N).

list(Items) -> [$[, lists:join($,, Items), $]].

pair(Left, Right) -> [$[, Left, $,, Right, $]].

object(Fields) -> [${, lists:join($,, [[$", Key, $", $:, Value] || {Key, Value} <- Fields]), $}].
