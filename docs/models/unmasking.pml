/*
 * A round of secure aggregation against an arbitrary server: what can it get opened?
 *
 * The participants are the states of crypto/src/secagg/participant. H of the N are honest; the other C sign and answer
 * whatever the server likes, so they need no process: the server is taken to hold every share they were dealt and every
 * statement they could sign. The server needs none either, it is the nondeterminism in the participants. Each may be
 * offered either of two rounds that name the same pre-keys, be shown any set as U1 and any as U2, and be asked to unmask
 * at any time with any statements collected by then (those that fit are all shown, since more never convince fewer). A
 * participant may stop at every step, by a crash or because a message never comes, and be started again.
 *
 * Never, in any of these runs:
 *   BOTH  the server holds t shares of the seed b and t shares of the mask key S of one honest participant;
 *   FEW   it can unmask a sum with fewer than m - n_C honest updates in it: the noise is calibrated to that many.
 *
 * Left out: cryptography (fewer than t shares say nothing, statements are not forged, sid keeps rounds apart), what is
 * in an update, and the disk, which is answer.pml's subject: here a pre-key is there or it is not.
 *
 * -D<RULE> removes one rule. README.md says what then breaks, check.sh that it does.
 */

/* Which property is looked at; 0: both. */
#ifndef PROPERTY
#define PROPERTY 0
#endif
#define BOTH 1
#define FEW 2
#define never(property, bad) assert(!((PROPERTY == 0 || PROPERTY == property) && (bad)))

#ifndef N                       /* participants, at most 8 */
#define N 5
#endif
#ifndef C                       /* colluders among them */
#define C 2
#endif
#ifndef NO_QUORUM               /* q, the least with 2q > n + n_C, or one less */
#define Q ((N + C) / 2 + 1)
#else
#define Q ((N + C) / 2)
#endif
#ifndef M                       /* m; the weakest that threshold.rs lets through is q */
#define M Q
#endif
#ifndef T                       /* t; on the complete graph t = q */
#define T Q
#endif
#ifndef K                       /* neighbours of each on a ring; 0: the complete graph */
#define K 0
#endif
#ifndef ROUNDS                  /* offers that name the same pre-keys: 1 or 2 */
#define ROUNDS 2
#endif

#ifdef ANSWERS_TWICE            /* about two pairs of sets, which have to be signed first */
#define SIGNS_TWICE
#endif

#define H (N - C)               /* the honest are 0 to H - 1; 3, 4 or 5 of them */

/* Sets of participants are bytes, a bit each; printed with participant 0 first. */
#define bit(i) (1 << (i))
#define has(set, i) (((set) >> (i)) & 1)
#define size(set) (has(set, 0) + has(set, 1) + has(set, 2) + has(set, 3) \
    + has(set, 4) + has(set, 5) + has(set, 6) + has(set, 7))
#define subset(a, b) (((a) & ~(b)) == 0)
#define printed(set) has(set, 0), has(set, 1), has(set, 2), has(set, 3), \
    has(set, 4), has(set, 5), has(set, 6), has(set, 7)
#define EVERYONE (bit(N) - 1)
#define HONEST (bit(H) - 1)
#define COLLUDERS (EVERYONE - HONEST)

/* graph.rs. The participants stand on the ring by their numbers, or with 2 and 4 in each other's place. */
#ifndef SWAPPED
#define place(i) (i)
#else
#define place(i) ((i) == 2 -> 4 : ((i) == 4 -> 2 : (i)))
#endif
#if K == 0
#define neighbours(i, j) ((i) != (j))
#define holds(i, j) 1           /* shares of its own secrets, too */
#else
#define neighbours(i, j) ((i) != (j) \
    && ((N + place(i) - place(j)) % N <= K / 2 || (N + place(j) - place(i)) % N <= K / 2))
#define holds(i, j) neighbours(i, j)
#endif

/* The sum of f over the honest, as one expression. */
#if H == 3
#define over_honest(f, a, b, c) (f(0, a, b, c) + f(1, a, b, c) + f(2, a, b, c))
#elif H == 4
#define over_honest(f, a, b, c) (f(0, a, b, c) + f(1, a, b, c) + f(2, a, b, c) + f(3, a, b, c))
#elif H == 5
#define over_honest(f, a, b, c) (f(0, a, b, c) + f(1, a, b, c) + f(2, a, b, c) + f(3, a, b, c) + f(4, a, b, c))
#endif

/* Whose pre-key is on its disk. */
byte prekeys = HONEST;

/*
 * What the server holds, by round and participant. No set in use is empty, so 0 means "nothing yet".
 */
#define at(round, p) ((round) * H + (p))
byte dealt[ROUNDS];             /* who dealt shares */
byte masked[ROUNDS * H];        /* U1 that the update of p is masked against */
byte stated1[ROUNDS * H];       /* U1 of p's statement */
byte stated2[ROUNDS * H];       /* U2 of it */
#ifdef SIGNS_TWICE
byte stated3[ROUNDS * H];       /* U2 of its second statement */
#endif
byte seeds[ROUNDS * H];         /* whose shares of b did p open */
byte keys[ROUNDS * H];          /* whose shares of S did p open */

/* participant/mod.rs, check_set: within the whole, itself among them, at least m. */
#ifndef NO_MINIMUM
#define acceptable(set, whole) (subset(set, whole) && has(set, _pid) && size(set) >= M)
#else
#define acceptable(set, whole) (subset(set, whole) && has(set, _pid))
#endif

/* participant/unmasking.rs, check_statements: how many survivors' statements about exactly these sets there are. */
#ifndef SIGNS_TWICE
#define stands(q, u1, u2) (stated1[q] == u1 && stated2[q] == u2)
#else
#define stands(q, u1, u2) (stated1[q] == u1 && (stated2[q] == u2 || stated3[q] == u2))
#endif
#define statement(q, round, u1, u2) (has(u2, q) && stands(at(round, q), u1, u2))
#define statements(round, u1, u2) (size((u2) & COLLUDERS) + over_honest(statement, round, u1, u2))

/* check_sharers: whose update is signed to be masked against U1. One that is not is no reason to refuse here, but its
   shares are passed over: the server can have it so, by delivering them unreadable. */
#define same_sharers(q, round, u1, _) ((q == _pid || masked[at(round, q)] == u1) << q)
#ifndef NO_SHARERS
#define fitting(round, u1) over_honest(same_sharers, round, u1, 0)
#else
#define fitting(round, u1) HONEST
#endif

/* Whether v's secret of the round is known: t shares of one sharing, those of the colluders among them. */
#define seed_share(q, round, v, _) (holds(q, v) && has(seeds[at(round, q)], v))
#define key_share(q, round, v, _) (holds(q, v) && has(keys[at(round, q)], v))
#define seed_known(round, v) (has(dealt[round], v) && told(v) + over_honest(seed_share, round, v, 0) >= T)
#define key_known(round, v) (has(dealt[round], v) && told(v) + over_honest(key_share, round, v, 0) >= T)
#if C == 0
#define told(v) 0
#elif C == 1
#define told(v) holds(H, v)
#elif C == 2
#define told(v) (holds(H, v) + holds(H + 1, v))
#else
#define told(v) C               /* complete graph only */
#endif

/* Set and read within one step, hence no part of the state. */
hidden byte r, v, w, sum, readable, known_keys;
hidden byte known_seeds[ROUNDS];

/* Whether the mask of w with v is still on w's update when the updates of `sum` are added up. */
#define masks_stay(w, v) (neighbours(w, v) && has(masked[at(r, w)], v) && !has(known_keys, v) && !has(known_keys, w) \
    && !(has(sum, v) && has(masked[at(r, v)], w)))

/* Both properties, after every step that tells the server something. A seed b is drawn anew in every round, a mask key
   S is the same wherever its pre-key is used. */
inline check() {
    d_step {
        known_keys = 0;
        for (r : 0 .. ROUNDS - 1) {
            known_seeds[r] = 0;
            for (v : 0 .. H - 1) {
                known_seeds[r] = known_seeds[r] | (seed_known(r, v) << v);
                known_keys = known_keys | (key_known(r, v) << v)
            }
        }
        if
        :: known_keys || known_seeds[0] || known_seeds[ROUNDS - 1] ->
            printf("  the server knows S of %d%d%d%d%d%d%d%d", printed(known_keys));
            for (r : 0 .. ROUNDS - 1) {
                printf(", b in round %d of %d%d%d%d%d%d%d%d", r, printed(known_seeds[r]))
            }
            printf("\n")
        :: else
        fi;
        for (r : 0 .. ROUNDS - 1) {
            never(BOTH, (known_seeds[r] & known_keys) != 0);
            for (sum : 1 .. HONEST) {
                if
                :: size(sum) < M - C && subset(sum, known_seeds[r]) ->
                    readable = 1;
                    for (w : 0 .. H - 1) {
                        readable = readable && !(has(sum, w) && masked[at(r, w)] == 0);
                        for (v : 0 .. H - 1) {
                            readable = readable && !(has(sum, w) && masks_stay(w, v))
                        }
                    }
                    never(FEW, readable)
                :: else
                fi
            }
        }
    }
}

/* A crash, or a message that is not acceptable: the state is gone. */
#define abandon u2 = 0; u1 = 0; round = 0; goto end_advertising_keys
#ifndef SILENT
#define may_abandon :: abandon
#else           /* who stops is who never goes on: the same to the server, since no pre-key comes back */
#define may_abandon
#endif

active [H] proctype participant()
{
    byte round, u1, u2;         /* memory */

end_advertising_keys:
    atomic {
        if
        :: has(prekeys, _pid) && !has(dealt[0], _pid) -> round = 0
#if ROUNDS == 2
        :: has(prekeys, _pid) && !has(dealt[1], _pid) -> round = 1
#endif
        fi;
        printf("participant %d, round %d: takes part\n", _pid, round);
#ifndef PREKEY_KEPT
        prekeys = prekeys & ~bit(_pid)
#endif
    }

    /* sharing_keys */
    atomic {
        if
        :: dealt[round] = dealt[round] | bit(_pid); check()
        may_abandon
        fi
    }

    /* sending_masked_update: the server names U1 */
    atomic {
#ifndef SAME_U1
        select(u1 : 0 .. EVERYONE);
#else
        u1 = EVERYONE;
#endif
        if
        :: acceptable(u1, EVERYONE) ->
            masked[at(round, _pid)] = u1;
            printf("participant %d, round %d: sends its update, masked against %d%d%d%d%d%d%d%d\n",
                _pid, round, printed(u1));
            check()
        :: !acceptable(u1, EVERYONE) -> abandon
        may_abandon
        fi
    }

confirming_survivors:
    /* the server names U2 */
    atomic {
        select(u2 : 0 .. EVERYONE);
        if
        :: !acceptable(u2, u1) -> abandon
        :: acceptable(u2, u1) ->
            printf("participant %d, round %d: signs U1 %d%d%d%d%d%d%d%d, U2 %d%d%d%d%d%d%d%d\n",
                _pid, round, printed(u1), printed(u2));
            if
            :: stated1[at(round, _pid)] == 0 -> stated1[at(round, _pid)] = u1; stated2[at(round, _pid)] = u2
#ifdef SIGNS_TWICE
            :: else -> stated3[at(round, _pid)] = u2
#endif
            fi
        may_abandon
        fi
    }

end_unmasking:
    atomic {
        if
#ifndef NO_STATEMENTS
        :: statements(round, u1, u2) >= Q ->
#else
        :: true ->
#endif
#ifndef ANY_LISTS
            seeds[at(round, _pid)] = seeds[at(round, _pid)] | (u2 & fitting(round, u1));
            keys[at(round, _pid)] = keys[at(round, _pid)] | (u1 & ~u2);
#else
            seeds[at(round, _pid)] = u1; keys[at(round, _pid)] = u1;
#endif
            printf("participant %d, round %d: opens b of %d%d%d%d%d%d%d%d, S of %d%d%d%d%d%d%d%d\n", _pid, round,
                printed(seeds[at(round, _pid)]), printed(keys[at(round, _pid)]));
            check();
#ifdef GOOD_END
            /* One honest update is missing, and the sum of all others can be unmasked. */
            assert(!(u1 == EVERYONE && size(u2) == N - 1 && subset(COLLUDERS, u2)
                && known_seeds[round] == (u2 & HONEST) && known_keys == (u1 & ~u2)));
#endif
#ifdef ANSWERS_TWICE
            if
            :: stated3[at(round, _pid)] == 0 -> u2 = 0; goto confirming_survivors
            :: else
            fi;
#endif
            abandon             /* the end of the round: nothing of the state is needed any more */
#ifdef SIGNS_TWICE
        :: stated3[at(round, _pid)] == 0 -> u2 = 0; goto confirming_survivors
#endif
        may_abandon
        fi
    }
}
