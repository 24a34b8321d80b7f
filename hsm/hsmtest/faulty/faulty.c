/* The module as its users see it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faulty.h"

#define NAME_OF(name, via, reach, length, parameters, arguments) [F_##name] = "C_" #name,
const char *const function_names[FUNCTIONS] = {[ANY] = "*", EACH_FUNCTION(NAME_OF, )};

void complain(const char *format, ...)
{
	char line[512];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof line, format, args);
	va_end(args);
	dprintf(STDERR_FILENO, "faulty module: %s\n", line);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void lock(void) { pthread_mutex_lock(&mutex); }
void unlock(void) { pthread_mutex_unlock(&mutex); }

/* ----------------------------------------------------------------------
 * The functions that are more than passed on.
 */

static void set_login(enum login to)
{
	lock();
	login = to;
	unlock();
}

static bool login_is_lost(void)
{
	lock();
	bool lost = login == LOGIN_LOST;
	unlock();
	return lost;
}

static CK_RV own_Initialize(void *args)
{
	CK_RV rv = real->C_Initialize(args);
	lock();
	initialised |= rv == CKR_OK;
	unlock();
	return rv;
}

static CK_RV own_Finalize(void *reserved)
{
	CK_RV rv = real->C_Finalize(reserved);
	if (rv != CKR_OK)
		return rv;
	lock();
	forget_token();
	unlock();
	return rv;
}

/* odd_number puts another number in the place of what a call has told. */
static CK_RV odd_number(int function, CK_RV rv, CK_ULONG *n)
{
	struct rule r;
	if (rv == CKR_OK && n != NULL && in_force(NUMBERS, function, &r)) {
		*n = r.value;
		spoil();
	}
	return rv;
}

static CK_RV own_GetSlotList(CK_BYTE present, CK_ULONG *slots, CK_ULONG *n)
{
	struct rule r;
	lock();
	bool usable = initialised && n != NULL;
	unlock();
	if (!usable || !in_force(VANISH, ANY, &r))
		return odd_number(F_GetSlotList, real->C_GetSlotList(present, slots, n), n);
	spoil();
	*n = 0;
	return CKR_OK;
}

static CK_RV own_GetMechanismList(CK_ULONG slot, CK_ULONG *list, CK_ULONG *n)
{
	return odd_number(F_GetMechanismList, real->C_GetMechanismList(slot, list, n), n);
}

static CK_RV own_GetMechanismInfo(CK_ULONG slot, CK_ULONG type, CK_MECHANISM_INFO *info)
{
	CK_RV rv = odd_number(F_GetMechanismInfo, real->C_GetMechanismInfo(slot, type, info), &info->min_key);
	info->max_key = rv == CKR_OK && info->min_key > info->max_key ? info->min_key : info->max_key;
	return rv;
}

static CK_RV own_FindObjects(CK_ULONG session, CK_ULONG *objects, CK_ULONG max, CK_ULONG *n)
{
	return odd_number(F_FindObjects, real->C_FindObjects(session, objects, max, n), n);
}

static CK_RV own_GetAttributeValue(CK_ULONG session, CK_ULONG object, CK_ATTRIBUTE *template, CK_ULONG n)
{
	struct rule r;
	CK_RV rv = real->C_GetAttributeValue(session, object, template, n);
	if (rv == CKR_OK && in_force(NUMBERS, F_GetAttributeValue, &r)) {
		for (CK_ULONG i = 0; i < n; i++)
			template[i].length = r.value;
		spoil();
	}
	return rv;
}

static CK_RV own_GetTokenInfo(CK_ULONG slot, CK_TOKEN_INFO *info)
{
	struct rule r;
	CK_RV rv = real->C_GetTokenInfo(slot, info);
	if (rv == CKR_OK && in_force(TOKEN_FLAGS, ANY, &r)) {
		info->flags |= r.value;
		spoil();
	}
	if (rv == CKR_OK && in_force(TOKEN_FLAGS_OFF, ANY, &r)) {
		info->flags &= ~r.value;
		spoil();
	}
	if (rv == CKR_OK && in_force(TOKEN_SERIAL, ANY, &r)) {
		memset(info->serial, ' ', sizeof info->serial);
		memcpy(info->serial, r.word, strnlen(r.word, sizeof info->serial));
		spoil();
	}
	if (rv == CKR_OK && in_force(NUMBERS, F_GetTokenInfo, &r)) {
		info->max_sessions = info->sessions = info->max_rw_sessions = info->rw_sessions = r.value;
		info->max_pin = info->min_pin = r.value;
		info->total_public = info->free_public = info->total_private = info->free_private = r.value;
		memset(info->hardware, (int)r.value, sizeof info->hardware);
		memset(info->firmware, (int)r.value, sizeof info->firmware);
		spoil();
	}
	if (rv == CKR_OK && in_force(WRITE_PROTECTED, ANY, &r)) {
		info->flags |= CKF_WRITE_PROTECTED;
		spoil();
	}
	if (rv == CKR_OK && in_force(PED, ANY, &r)) {
		info->flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
		spoil();
	}
	return rv;
}

static CK_RV own_OpenSession(CK_ULONG slot, CK_ULONG flags, void *application, void *notify, CK_ULONG *session)
{
	struct rule r;
	if ((flags & CKF_RW_SESSION) && in_force(WRITE_PROTECTED, ANY, &r)) {
		spoil();
		return (CK_RV)r.value;
	}
	CK_RV rv = real->C_OpenSession(slot, flags, application, notify, session);
	if (rv == CKR_OK) {
		lock();
		add_session(*session, slot);
		unlock();
	}
	return rv;
}

/* A session is forgotten before it is closed: after that its handle may
 * already be another session's. */
static CK_RV own_CloseSession(CK_ULONG session)
{
	lock();
	forget_session(session);
	unlock();
	return real->C_CloseSession(session);
}

static CK_RV own_CloseAllSessions(CK_ULONG slot)
{
	lock();
	forget_sessions_of(slot);
	unlock();
	return real->C_CloseAllSessions(slot);
}

static CK_RV own_GetSessionInfo(CK_ULONG session, CK_SESSION_INFO *info)
{
	CK_RV rv = real->C_GetSessionInfo(session, info);
	if (rv == CKR_OK && login_is_lost()) {
		info->state = info->state == CKS_RO_USER ? CKS_RO_PUBLIC : CKS_RW_PUBLIC;
		spoil();
	}
	return rv;
}

static CK_RV own_Login(CK_ULONG session, CK_ULONG user, CK_BYTE *pin, CK_ULONG len)
{
	struct rule r;
	if (in_force(PED, ANY, &r)) {
		/* The PIN is entered on the device, and taken from nowhere else. */
		spoil();
		if (pin != NULL || len != 0)
			return CKR_ARGUMENTS_BAD;
		pin = (CK_BYTE *)r.word;
		len = strlen(r.word);
	}
	CK_RV rv = real->C_Login(session, user, pin, len);
	if (user == CKU_CONTEXT_SPECIFIC)
		return rv;
	if (rv == CKR_USER_ALREADY_LOGGED_IN && login_is_lost()) {
		/* The real module knows nothing of the loss. It must look at the PIN again. */
		real->C_Logout(session);
		rv = real->C_Login(session, user, pin, len);
	}
	if (rv == CKR_OK)
		set_login(LOGGED_IN);
	return rv;
}

static CK_RV own_Logout(CK_ULONG session)
{
	if (login_is_lost()) {
		spoil();
		return CKR_USER_NOT_LOGGED_IN;
	}
	CK_RV rv = real->C_Logout(session);
	if (rv == CKR_OK)
		set_login(LOGGED_OUT);
	return rv;
}

/* spoil_signature makes a signature wrong, and its length odd. A buffer may have no
 * room for one that is too long, so there is never more than is said in it. */
static CK_RV spoil_signature(int function, CK_RV rv, CK_BYTE *out, CK_ULONG *len)
{
	struct rule r;
	if (rv != CKR_OK || out == NULL || *len == 0)
		return rv;
	if (in_force(WRONG_SIGNATURE, function, &r)) {
		if (strcmp(r.word, "zeros") == 0)
			memset(out, 0, *len);
		else if (strcmp(r.word, "short") == 0)
			*len -= 1;
		else if (strcmp(r.word, "long") == 0)
			*len += 1;
		else
			out[*len - 1] ^= 1;
		spoil();
	}
	if (in_force(NUMBERS, function, &r)) {
		*len = r.value;
		spoil();
	}
	return rv;
}

static CK_RV own_Sign(CK_ULONG session, CK_BYTE *in, CK_ULONG len, CK_BYTE *out, CK_ULONG *out_len)
{
	return spoil_signature(F_Sign, real->C_Sign(session, in, len, out, out_len), out, out_len);
}

static CK_RV own_SignFinal(CK_ULONG session, CK_BYTE *out, CK_ULONG *out_len)
{
	return spoil_signature(F_SignFinal, real->C_SignFinal(session, out, out_len), out, out_len);
}

/* ----------------------------------------------------------------------
 * The list of functions.
 */

#define VIA_REAL(name) real->C_##name
#define VIA_OWN(name) own_##name
#define HANDLE_LIBRARY 0
#define HANDLE_SLOT slot
#define HANDLE_SESSION session
#define HANDLE_KEY session
#define WRAP(name, via, reach, length, parameters, arguments) \
	static CK_RV faulty_##name parameters \
	{ \
		struct call c = {F_##name, reach, HANDLE_##reach, length, .rv = CKR_GENERAL_ERROR}; \
		if (enter(&c)) \
			c.rv = real->C_##name == NULL ? CKR_FUNCTION_NOT_SUPPORTED : VIA_##via(name) arguments; \
		return leave(&c); \
	}
EACH_FUNCTION(WRAP, )

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

static CK_FUNCTION_LIST functions = {
	.version = {2, 40},
	.C_GetFunctionList = C_GetFunctionList,
#define MEMBER(name, via, reach, length, parameters, arguments) .C_##name = faulty_##name,
	EACH_FUNCTION(MEMBER, )
};

/* C_GetFunctionList succeeds even if the real module is not to be had:
 * C_Initialize fails then, and standard error says why. */
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	if (list == NULL)
		return CKR_ARGUMENTS_BAD;
	*list = &functions;
	return CKR_OK;
}

const CK_FUNCTION_LIST *real;

static bool load_real(void)
{
	const char *path = getenv("FAULTY_MODULE");
	if (real != NULL)
		return true;
	if (path == NULL || *path == 0) {
		complain("FAULTY_MODULE is not set; it names the module that this one wraps");
		return false;
	}
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	CK_RV (*get)(CK_FUNCTION_LIST **) = NULL;
	CK_FUNCTION_LIST *list = NULL;
	if (library != NULL)
		*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (get == NULL)
		complain("%s", dlerror());
	else if (get == C_GetFunctionList)
		complain("FAULTY_MODULE names this module itself");
	else if (get(&list) != CKR_OK || list == NULL)
		complain("%s gives no list of functions", path);
	else
		real = list;
	return real != NULL;
}

static atomic_bool is_ready;

/* forget_parent makes the child of a fork a process of its own, which has to
 * begin with C_Initialize (PKCS#11 v2.40 §6.6). */
static void forget_parent(void)
{
	pthread_mutex_init(&mutex, NULL);
	atomic_store(&is_ready, false);
	leave_ledger();
	leave_turns();
	forget_token();
}

bool ready(void)
{
	static bool watches_forks;
	if (atomic_load(&is_ready))
		return true;
	lock();
	bool now = atomic_load(&is_ready);
	if (!now && load_real() && open_ledger()) {
		if (!watches_forks)
			watches_forks = pthread_atfork(NULL, NULL, forget_parent) == 0;
		read_control();
		now = true;
		atomic_store(&is_ready, true);
	}
	unlock();
	return now;
}
