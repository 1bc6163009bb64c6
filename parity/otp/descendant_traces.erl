%% What becomes of a grandchild when the supervisor above it is stopped or killed: prints one JSON line a case.
%%
%%   outer ── inner ── child        the child is idle, busy, stopping or starting when the inner supervisor ends
%%
%% Guarantees: a child is in the state of the case, by its own word, before the end begins. No line depends on how fast
%% anything is: whoever is still alive ?SETTLED_MS after the answer stays so until it wants to end, which is never.
-module(descendant_traces).
-behaviour(supervisor).
-export([main/0, init/1, start_child/3]).

-define(INNER_SHUTDOWN_MS, 200).
-define(SETTLED_MS, 500).

main() ->
    logger:set_primary_config(level, none),
    process_flag(trap_exit, true),
    [io:put_chars([a_case(Traps, State, End), $\n])
        || Traps <- [false, true], State <- [idle, busy, stopping, starting], End <- [stop, terminate, brutal, killed],
           %% Who does not trap exits has no code to run when it is told to stop.
           Traps orelse State =/= stopping].

a_case(Traps, State, End) ->
    Shutdown = case End of brutal -> brutal_kill; _ -> ?INNER_SHUTDOWN_MS end,
    {ok, Outer} = supervisor:start_link(?MODULE, {outer, Shutdown}),
    Inner = inner(Outer),
    Child = bring(Inner, Traps, State),
    Answer = finish(Outer, Inner, End),
    timer:sleep(?SETTLED_MS),
    Outlives = is_process_alive(Child),
    exit(Child, kill),
    case is_process_alive(Outer) of
        true -> exit(Outer, shutdown), receive {'EXIT', Outer, _} -> ok end;
        false -> ok
    end,
    io_lib:format("{\"traps\":~s,\"child\":\"~s\",\"end\":\"~s\",\"answer\":\"~s\",\"outlives\":~s}",
        [Traps, State, End, Answer, Outlives]).

%% A child of the inner supervisor in this state.
bring(Inner, Traps, State) ->
    Me = self(),
    Spec = #{id => x, start => {?MODULE, start_child, [Me, Traps, State]}, shutdown => infinity},
    spawn(fun() -> catch supervisor:start_child(Inner, Spec) end),
    Child = receive {reached, Pid} -> Pid end,
    case State of
        stopping ->
            spawn(fun() -> catch supervisor:terminate_child(Inner, x) end),
            receive {stopping, Child} -> ok end;
        _ -> ok
    end,
    Child.

finish(Outer, _, stop) -> exit(Outer, shutdown), receive {'EXIT', Outer, shutdown} -> "ok" end;
finish(Outer, Inner, killed) -> exit(Inner, kill), restarted(Outer, Inner), "ok";
finish(Outer, _, _) -> atom_to_list(supervisor:terminate_child(Outer, inner)).

restarted(Outer, Old) ->
    case inner(Outer) of
        Pid when is_pid(Pid), Pid =/= Old -> ok;
        _ -> restarted(Outer, Old)
    end.

inner(Outer) -> {inner, Pid, _, _} = lists:keyfind(inner, 1, supervisor:which_children(Outer)), Pid.

init({outer, Shutdown}) ->
    Start = {supervisor, start_link, [?MODULE, inner]},
    {ok, {#{}, [#{id => inner, start => Start, shutdown => Shutdown, type => supervisor}]}};
init(inner) -> {ok, {#{}, []}}.

start_child(Test, Traps, State) ->
    proc_lib:start_link(erlang, apply, [fun() -> child(Test, Traps, State) end, []]).

child(Test, Traps, State) ->
    process_flag(trap_exit, Traps),
    case State of
        starting -> Test ! {reached, self()}, for_ever();
        busy -> proc_lib:init_ack({ok, self()}), Test ! {reached, self()}, for_ever();
        _ -> proc_lib:init_ack({ok, self()}), Test ! {reached, self()}
    end,
    receive
        {'EXIT', _, shutdown} when State =:= stopping -> Test ! {stopping, self()}, for_ever();
        {'EXIT', _, Reason} -> exit(Reason)
    end.

for_ever() -> receive never -> ok end.
