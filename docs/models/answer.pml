/*
 * One merchant, its disk and crashes: what can leave the machine, and what is on disk by then?
 *
 * The merchant's steps are those of client/src/round/driver/one_round.rs, in their order. Everybody else is taken to be against
 * it: the server offers the round again whenever it likes, delivers either of two sets U1, names either of two sets U2,
 * has enough statements for whatever this merchant signed, sends any request at any time, and repeats itself. The
 * machine may stop between any two steps. A file that was written and not yet synced survives that or does not.
 *
 * Never, in any of these runs, over all restarts:
 *   STRUCK         key shares leave while a restart could still find the pre-key;
 *   CHARGED        a masked update has left whose charge a restart does not find;
 *   KEPT           an answer leaves that a restart would not find;
 *   ONE_UPDATE     two different masked updates leave in one round;
 *   ONE_STATEMENT  two different pairs of sets are signed;
 *   ONE_ANSWER     two different requests are answered.
 *
 * Left out: restored and cloned disks (the log gives them away, see docs/PROTOCOL.md), and rounds with another pre-key,
 * which share nothing with this one.
 *
 * -D<RULE> removes one rule; README.md says what then breaks, and check.sh that it does.
 */

/* Which property is looked at; 0: all of them. */
#ifndef PROPERTY
#define PROPERTY 0
#endif
#define STRUCK 1
#define CHARGED 2
#define KEPT 3
#define ONE_UPDATE 4
#define ONE_STATEMENT 5
#define ONE_ANSWER 6
#define never(property, bad) assert(!((PROPERTY == 0 || PROPERTY == property) && (bad)))

/* How often the merchant may enter the round: each time draws a seed, noise and hence another update. */
#define ENTRIES_MAX 3

/* A file: as the operating system shows it, and as a restart may find it. 0: not there. */
typedef File { byte seen; byte durable }
File prekey, charge, kept;
#ifdef RESUMES
File saved;                                     /* the state before signing: which update, which U1 */
#endif

#define write(file, content) file.seen = content
#ifndef NO_FSYNC
#define sync(file) file.durable = file.seen
#else
#define sync(file) skip
#endif
#define stop(file) if :: file.durable = file.seen :: file.seen = file.durable fi

/* What has left the machine. Contents are numbers: an update is entry and U1, a statement U1 and U2, a request the
   statement it asks about and whose signatures it shows. */
byte entries, shares, update, statement, answered;
#define update_of(entry, u1) (2 * (entry) + (u1))
#define statement_of(u1, u2) (1 + 2 * (u1) + (u2))
#define request_for(statement, signers) (2 * (statement) + (signers))

#define enters() printf("enters the round\n")
#define resumes() printf("resumes\n")

inline send_update(content) {
    printf("sends update %d (charge on disk: %d)\n", content, charge.durable);
    never(ONE_UPDATE, update != 0 && update != content);
    update = content;
    never(CHARGED, charge.durable == 0)
}

inline send_statement(content) {
    printf("signs statement %d\n", content);
    never(ONE_STATEMENT, statement != 0 && statement != content);
    statement = content
}

inline send_answer(request) {
    printf("answers request %d (on disk: %d)\n", request, kept.durable);
    never(ONE_ANSWER, answered != 0 && answered != request);
    never(KEPT, kept.durable != request);
    answered = request
}

/* The machine stops here, or it does not. */
#define may_stop :: goto stopped

active proctype merchant()
{
    byte entry, u1, u2, request;                /* memory */

    atomic { prekey.seen = 1; prekey.durable = 1 }

end_started:
    if
    /* The round is offered: taken up when its pre-key is there and it was not charged before. */
#ifndef REPLAYS
    :: atomic { prekey.seen == 1 && charge.seen == 0 && entries < ENTRIES_MAX -> entries++; entry = entries; enters() }
#else
    :: atomic { prekey.seen == 1 && entries < ENTRIES_MAX -> entries++; entry = entries; enters() }
#endif
#ifdef RESUMES
    :: atomic { saved.seen != 0 -> entry = saved.seen / 2; u1 = saved.seen % 2; resumes(); goto confirming_survivors }
#endif
    /* A request, and an answer was kept: for the same request, the same answer. */
    :: atomic { kept.seen != 0 -> send_answer(kept.seen) }; goto end_started
    fi;

    /* prekeys.rs, take */
#ifndef PREKEY_KEPT
    if :: write(prekey, 0) may_stop fi;
    if :: sync(prekey) may_stop fi;
#endif

    /* sharing_keys: shares of S and of a fresh b leave */
    if
    :: atomic { never(STRUCK, prekey.durable == 1); printf("sends shares\n"); shares = 1 }
    may_stop
    fi;

    /* sending_masked_update: U1 is delivered */
    if :: u1 = 0 :: u1 = 1 may_stop fi;
#ifdef CHARGED_LATE
    if :: atomic { send_update(update_of(entry, u1)) } may_stop fi;
#endif
    if :: write(charge, update_of(entry, u1)) may_stop fi;
    if :: sync(charge) may_stop fi;
#ifndef CHARGED_LATE
    if :: atomic { send_update(update_of(entry, u1)) } may_stop fi;
#endif
#ifdef RESUMES
    if :: write(saved, update_of(entry, u1)) may_stop fi;
    if :: sync(saved) may_stop fi;
#endif

confirming_survivors:
    if :: u2 = 0 :: u2 = 1 may_stop fi;
    if :: atomic { send_statement(statement_of(u1, u2)) } may_stop fi;

    /* unmasking: a request about the sets that were signed */
    if
    :: request = request_for(statement_of(u1, u2), 0)
    :: request = request_for(statement_of(u1, u2), 1)
    may_stop
    fi;
#ifndef ANSWER_NOT_KEPT
    /* An answer that is there already is not replaced. */
    if
    :: kept.seen != 0 && kept.seen != request -> goto ended
    :: kept.seen == 0 || kept.seen == request -> write(kept, request)
    may_stop
    fi;
    if :: sync(kept) may_stop fi;
#endif
answering:
    if
    :: atomic { send_answer(request) }; goto answering                      /* and again, when asked again */
    :: goto ended
    may_stop
    fi;

ended:
    /* The outcome is known: nothing of the round is of use any more. */
#ifdef GOOD_END
    assert(!(shares == 1 && update == charge.durable && statement == statement_of(u1, u2)
        && answered == request && kept.durable == request));
#endif
#ifdef RESUMES
    if :: write(saved, 0) may_stop fi;
    if :: sync(saved) may_stop fi;
#endif
    if :: write(kept, 0) may_stop fi;
    if :: sync(kept) may_stop fi;

stopped:
    atomic {
        entry = 0; u1 = 0; u2 = 0; request = 0;
        stop(prekey); stop(charge); stop(kept);
#ifdef RESUMES
        stop(saved);
#endif
        printf("stops; on disk are pre-key %d, charge %d, answer %d\n", prekey.durable, charge.durable, kept.durable);
        never(CHARGED, update != 0 && charge.durable == 0)
    }
    goto end_started
}
