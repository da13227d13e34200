/* The hot half of `graphopt.engine.scheduler`, in C: taking a plain task in, completing it, and
 * the loop around these. It is the same algorithm on the same objects, whose slots are read where
 * Python's own descriptors say that they are; whatever is not plain (a recorder, special options,
 * groups, failures, deletions) goes to the methods of the class. Optional: without it everything
 * runs, a few times slower. The callers hold the scheduler's lock.
 */
#include "_slots.h"

static int is_special(PyObject *task) { return GET(GET(task, Task_options), Options_special) != Py_False; }

static int release(PyObject *scheduler, PyObject *task)
{
    if (!IS_NONE(GET(task, Task_cause)) || is_special(task))
        return tell(scheduler, s_release, task);
    PyObject *lane = GET(GET(task, Task_options), Options_lane);
    if (tell(GET(lane, Lane_ready), s_append, task) < 0)
        return -1;
    if (PyObject_Length(GET(lane, Lane_idle)) > 0)
        return PyList_Append(GET(scheduler, Scheduler_bells), lane);
    return 0;
}

static int follow_readers(PyObject *task, PyObject *variable)
{
    int count = 0;
    PyObject *readers = GET(variable, Variable_readers);
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(readers); i++) {
        PyObject *reader = PyList_GET_ITEM(readers, i);
        if (reader != task && number(reader, Task_state) != DONE) {
            count++;
            if (append_to(reader, Task_after, task) < 0)
                return -1;
        }
    }
    PyObject *none = PyList_New(0);
    if (none == NULL)
        return -1;
    put(variable, Variable_readers, none);
    return count;
}

/* Ask a method of the scheduler for how many a task waits. */
static int ask(PyObject *scheduler, PyObject *name, PyObject *task, PyObject *variable)
{
    PyObject *result = PyObject_CallMethodObjArgs(scheduler, name, task, variable, NULL);
    int count = result == NULL ? -1 : (int)PyLong_AsLong(result);
    Py_XDECREF(result);
    return count;
}

/* Make a task wait for the last writer; returns for how many. */
static int follow_writer(PyObject *scheduler, PyObject *task, PyObject *variable)
{
    PyObject *writer = GET(variable, Variable_writer);
    if (number(writer, Task_state) == DONE || !IS_NONE(GET(variable, Variable_group)))
        return ask(scheduler, s_follow_writer, task, variable);
    return append_to(writer, Task_then, task) < 0 ? -1 : 1;
}

static int read_all(PyObject *scheduler, PyObject *task)
{
    int count = 0, more;
    PyObject *variables = GET(task, Task_read);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(variables); i++) {
        PyObject *variable = PyTuple_GET_ITEM(variables, i);
        if (!IS_NONE(GET(variable, Variable_writer))) {
            if ((more = follow_writer(scheduler, task, variable)) < 0)
                return -1;
            count += more;
        }
        PyObject *readers = GET(variable, Variable_readers);
        if (PyList_GET_SIZE(readers) >= number(variable, Variable_room)) {
            if (tell(variable, s_prune, NULL) < 0)
                return -1;
            readers = GET(variable, Variable_readers);
        }
        if (PyList_Append(readers, task) < 0)
            return -1;
    }
    return count;
}

/* Take a variable over, once it is known whom to follow. */
static int become_writer(PyObject *task, PyObject *variable)
{
    int count = 0;
    if (PyList_GET_SIZE(GET(variable, Variable_readers)) > 0)
        count = follow_readers(task, variable);
    if (count >= 0)
        put(variable, Variable_writer, Py_NewRef(task));
    return count;
}

static int mutate_all(PyObject *scheduler, PyObject *task)
{
    int count = 0, more = 0, before;
    PyObject *variables = Py_NewRef(GET(task, Task_mutate));
    for (Py_ssize_t i = 0; more >= 0 && i < PyTuple_GET_SIZE(variables); i++) {
        PyObject *variable = PyTuple_GET_ITEM(variables, i), *writer = GET(variable, Variable_writer);
        if (writer == task) { /* it stands there twice */
            more = ask(scheduler, s_mutate, task, variable);
            continue;
        }
        before = IS_NONE(writer) ? 0 : follow_writer(scheduler, task, variable);
        more = before;
        if (before >= 0 && IS_NONE(GET(variable, Variable_gone))) {
            more = become_writer(task, variable);
            count += before;
        }
        count += more;
    }
    Py_DECREF(variables);
    return more < 0 ? -1 : count;
}

static int overwrite_all(PyObject *scheduler, PyObject *task)
{
    PyObject *variables = GET(task, Task_overwrite);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(variables); i++) {
        PyObject *variable = PyTuple_GET_ITEM(variables, i);
        int twice = 0;
        for (Py_ssize_t k = 0; k < i; k++)
            twice |= PyTuple_GET_ITEM(variables, k) == variable;
        if (twice || !IS_NONE(GET(variable, Variable_writer))) /* the method knows all cases */
            return ask(scheduler, s_overwrite, task, NULL);
    }
    int count = 0, more;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(variables); i++) {
        PyObject *variable = PyTuple_GET_ITEM(variables, i);
        if ((more = become_writer(task, variable)) < 0)
            return -1;
        count += more;
    }
    return count;
}

static int integrate(PyObject *scheduler, PyObject *task)
{
    if (!IS_NONE(GET(scheduler, Scheduler_recorder)) || is_special(task))
        return tell(scheduler, s_integrate, task);
    PyObject *count = PyLong_FromLong(number(scheduler, Scheduler_count) + 1);
    if (count == NULL)
        return -1;
    put(scheduler, Scheduler_count, Py_NewRef(count));
    put(task, Task_seq, count);
    int readers = read_all(scheduler, task);
    int writers = readers < 0 ? -1 : mutate_all(scheduler, task);
    int others = 0;
    if (writers >= 0 && PyTuple_GET_SIZE(GET(task, Task_overwrite)) > 0)
        others = overwrite_all(scheduler, task);
    if (writers < 0 || others < 0 || put_number(task, Task_wait_count, readers + writers + others) < 0)
        return -1;
    return readers + writers + others ? 0 : release(scheduler, task);
}

/* Count down who waits; the list is taken out of its slot first. */
static int count_down(PyObject *scheduler, PyObject *task, Py_ssize_t slot)
{
    PyObject *waiting = GET(task, slot);
    if (IS_NONE(waiting))
        return 0;
    Py_INCREF(waiting);
    clear(task, slot);
    int status = 0;
    for (Py_ssize_t i = 0; status == 0 && i < PyList_GET_SIZE(waiting); i++) {
        PyObject *successor = PyList_GET_ITEM(waiting, i);
        long left = number(successor, Task_wait_count);
        if (left > 1)
            status = put_number(successor, Task_wait_count, left - 1);
        else
            status = release(scheduler, successor);
    }
    Py_DECREF(waiting);
    return status;
}

static int complete_plain(PyObject *scheduler, PyObject *task)
{
    put_state(task, DONE);
    PyObject *variables = GET(task, Task_mutate);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(variables); i++) {
        PyObject *variable = PyTuple_GET_ITEM(variables, i);
        if (put_number(variable, Variable_version, number(variable, Variable_version) + 1) < 0)
            return -1;
        if (GET(variable, Variable_writer) == task)
            clear(variable, Variable_writer);
    }
    if (PyTuple_GET_SIZE(GET(task, Task_overwrite)) > 0 && tell(scheduler, s_overwritten, task) < 0)
        return -1;
    if (count_down(scheduler, task, Task_then) < 0 || count_down(scheduler, task, Task_after) < 0)
        return -1;
    put(task, Task_fn, Py_NewRef(no_text));
    put(task, Task_read, Py_NewRef(no_tuple));
    put(task, Task_mutate, Py_NewRef(no_tuple));
    long completed = number(scheduler, Scheduler_completed) + 1;
    if (put_number(scheduler, Scheduler_completed, completed) < 0)
        return -1;
    long alarm = number(scheduler, Scheduler_alarm);
    if (alarm < 0 || number(scheduler, Scheduler_count) - completed > alarm)
        return 0;
    PyObject *waits = PyObject_GetAttr(scheduler, s_waits);
    int status = waits == NULL ? -1 : tell(waits, s_quiet, NULL);
    Py_XDECREF(waits);
    return status;
}

static int take(PyObject *scheduler, PyObject *entry)
{
    if (!PyObject_TypeCheck(entry, Task))
        return tell(entry, s_apply, scheduler);
    switch (number(entry, Task_state)) {
    case FINISHED:
        return complete_plain(scheduler, entry);
    case NEW:
        return integrate(scheduler, entry);
    case ENDED:
        return tell(scheduler, s_complete, entry);
    default:
        return tell(entry, s_apply, scheduler);
    }
}

static int is_a(PyObject *object, PyTypeObject *type)
{
    if (type != NULL && PyObject_TypeCheck(object, type))
        return 1;
    PyErr_Format(PyExc_TypeError, "%R is not what is wanted here, or `bind` was not called", object);
    return 0;
}

static int are(Py_ssize_t count, Py_ssize_t wanted)
{
    if (count != wanted)
        PyErr_Format(PyExc_TypeError, "it takes %zd arguments, not %zd", wanted, count);
    return count == wanted;
}

static PyObject *drain(PyObject *module, PyObject *scheduler)
{
    if (!is_a(scheduler, Scheduler))
        return NULL;
    PyObject *inbox = GET(scheduler, Scheduler_inbox), *relay = GET(scheduler, Scheduler_relay);
    for (;;) {
        PyObject *entry;
        int status;
        if (PyObject_Length(inbox) > 0) {
            if ((entry = PyObject_CallMethodNoArgs(inbox, s_popleft)) == NULL)
                return NULL;
            status = take(scheduler, entry);
        } else if (PyList_GET_SIZE(relay) > 0) {
            if ((entry = PyObject_CallMethodNoArgs(relay, s_pop)) == NULL)
                return NULL;
            status = tell(scheduler, s_complete, entry);
        } else
            Py_RETURN_NONE;
        Py_DECREF(entry);
        if (status < 0)
            return NULL;
    }
}

/* next(scheduler, lane): as Scheduler.next, which is asked where the next task is not plain. */
static PyObject *next(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (!are(count, 2) || !is_a(arguments[0], Scheduler) || !is_a(arguments[1], Lane))
        return NULL;
    PyObject *scheduler = arguments[0], *lane = arguments[1];
    if (PyObject_Length(GET(scheduler, Scheduler_inbox)) > 0) {
        PyObject *done = drain(module, scheduler);
        if (done == NULL)
            return NULL;
        Py_DECREF(done);
    }
    PyObject *ready = GET(lane, Lane_ready);
    if (PyObject_Length(GET(scheduler, Scheduler_cheap)) > 0 ||
        PyList_GET_SIZE(GET(lane, Lane_urgent)) > 0 || PyObject_Length(GET(lane, Lane_parts)) > 0)
        return PyObject_CallMethodOneArg(scheduler, s_next, lane);
    if (PyObject_Length(ready) == 0)
        Py_RETURN_NONE;
    PyObject *task = PyObject_CallMethodNoArgs(ready, s_popleft);
    if (task == NULL)
        return NULL;
    if (IS_NONE(GET(task, Task_cause)) && !is_special(task)) {
        put_state(task, RUNNING);
        return task;
    }
    int status = tell(ready, s_appendleft, task);
    Py_DECREF(task);
    return status < 0 ? NULL : PyObject_CallMethodOneArg(scheduler, s_next, lane);
}

static int owned(PyObject *variables, PyObject *scheduler, PyTypeObject *type)
{
    if (!PyTuple_CheckExact(variables))
        return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(variables); i++) {
        PyObject *variable = PyTuple_GET_ITEM(variables, i);
        if (Py_TYPE(variable) != type || GET(variable, Variable_owner) != scheduler)
            return 0;
    }
    return 1;
}

/* enter(fn, read, mutate, options, scheduler, frame): push a plain task; None, and nothing is done,
 * where its variables are not in tuples, or not the scheduler's, or where there is no room. */
static PyObject *enter(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    if (!are(count, 6) || !is_a(arguments[3], Options) || !is_a(arguments[4], Scheduler) ||
        !is_a(arguments[5], &PyFrame_Type))
        return NULL;
    PyObject *read = arguments[1], *mutate = arguments[2], *scheduler = arguments[4];
    PyObject *inbox = GET(scheduler, Scheduler_inbox);
    PyFrameObject *frame = (PyFrameObject *)arguments[5];
    long backlog = (long)PyObject_Length(inbox) + number(scheduler, Scheduler_count) -
                   number(scheduler, Scheduler_completed);
    if (backlog >= number(scheduler, Scheduler_limit) || !owned(read, scheduler, Variable) ||
        !owned(mutate, scheduler, Variable))
        Py_RETURN_NONE;
    PyObject *task = Task->tp_alloc(Task, 0);
    if (task == NULL)
        return NULL;
    GET(task, Task_fn) = Py_NewRef(arguments[0]);
    GET(task, Task_read) = Py_NewRef(read);
    GET(task, Task_mutate) = Py_NewRef(mutate);
    GET(task, Task_overwrite) = Py_NewRef(no_tuple);
    GET(task, Task_options) = Py_NewRef(arguments[3]);
    GET(task, Task_code) = (PyObject *)PyFrame_GetCode(frame);
    GET(task, Task_lasti) = PyLong_FromLong(PyFrame_GetLasti(frame));
    GET(task, Task_state) = Py_NewRef(state_objects[NEW]);
    Py_ssize_t none[] = {Task_then, Task_after, Task_error, Task_cause};
    for (int i = 0; i < 4; i++)
        GET(task, none[i]) = Py_NewRef(Py_None);
    if (tell(inbox, s_append, task) < 0)
        Py_CLEAR(task);
    return task;
}

/* The place of a slot, from its descriptor. */
static Py_ssize_t place(PyObject *type, const char *name)
{
    PyObject *descriptor = PyObject_GetAttrString(type, name);
    if (descriptor == NULL)
        return -1;
    if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type)) {
        PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, name);
        Py_DECREF(descriptor);
        return -1;
    }
    Py_ssize_t offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    Py_DECREF(descriptor);
    return offset;
}

/* bind(Task, Variable, Options, Lane, Scheduler): look the slots up; before anything else. */
static PyObject *bind(PyObject *module, PyObject *const *arguments, Py_ssize_t count)
{
    enum { i_Task, i_Variable, i_Options, i_Lane, i_Scheduler };
    if (!are(count, 5))
        return NULL;
    if (Scheduler != NULL) { /* a second look that failed halfway would leave wrong places */
        PyErr_SetString(PyExc_TypeError, "the classes are bound already");
        return NULL;
    }
#define LOOK_UP(type, name)                                                                    \
    if ((type##_##name = place(arguments[i_##type], #name)) < 0)                               \
        return NULL;
    SLOTS(LOOK_UP)
#define KEEP(type) type = (PyTypeObject *)Py_NewRef(arguments[i_##type]);
    KEEP(Task) KEEP(Variable) KEEP(Options) KEEP(Lane) KEEP(Scheduler)
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"bind", (PyCFunction)(void (*)(void))bind, METH_FASTCALL, NULL},
    {"drain", drain, METH_O, NULL},
    {"next", (PyCFunction)(void (*)(void))next, METH_FASTCALL, NULL},
    {"enter", (PyCFunction)(void (*)(void))enter, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_accel",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__accel(void)
{
#define INTERN(name)                                                                           \
    if ((s_##name = PyUnicode_InternFromString(#name)) == NULL)                                \
        return NULL;
    NAMES(INTERN)
    for (int state = NEW; state <= DONE; state++)
        if ((state_objects[state] = PyLong_FromLong(state)) == NULL)
            return NULL;
    if ((no_tuple = PyTuple_New(0)) == NULL || (no_text = PyUnicode_FromString("")) == NULL)
        return NULL;
    return PyModule_Create(&definition);
}
