;; Serves HTTP. The first letter of the path says what it does:
;;   /echo    sends the request's body back
;;   /greet   says hello, with status 201 and a field of its own
;;   /trap    traps before it answers
;;   /break   answers, writes, and traps in the middle of its answer
;;   /unfinished  answers, writes, and returns without having finished its answer
;;   /none    returns without an answer
;;   /fail    answers with an error code
;;   /loop    never returns
;;   /spin    answers, writes, and never returns
;;   /many    answers and writes without end
;;   /write   writes to its standard output, then greets
;;   /keep    makes sets of fields without end
;;   /x       sets a field that it may not set, and answers whether it could
(module
  (import "wasi:http/types@0.2.12" "[method]incoming-request.path-with-query" (func $path (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]incoming-request.consume" (func $consume (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]incoming-body.stream" (func $stream (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.12" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-response.set-status-code" (func $status (param i32 i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-response.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-body.write" (func $write (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]outgoing-body.finish" (func $finish (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]response-outparam.set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[resource-drop]incoming-request" (func $drop_request (param i32)))
  (import "wasi:io/streams@0.2.12" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush" (func $send (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.12" "[resource-drop]input-stream" (func $drop_input (param i32)))
  (import "wasi:io/streams@0.2.12" "[resource-drop]output-stream" (func $drop_output (param i32)))
  (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $stdout (result i32)))
  (memory (export "memory") 4)
  ;; What is allocated lies from 65536 on, and only the last of it is kept.
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
  (data (i32.const 1024) "hello from the guest\n")
  (data (i32.const 1100) "x-guest") (data (i32.const 1110) "yes") (data (i32.const 1120) "connection")
  (global $out (mut i32) (i32.const 0))
  (global $sent (mut i32) (i32.const 0))
  (func $ok (if (i32.load8_u (i32.const 16)) (then unreachable)))
  ;; Answers with this status and these fields, and leaves the body's stream.
  (func $answer (param $status i32) (param $fields i32) (result i32) (local $response i32)
    (local.set $response (call $response (local.get $fields)))
    (if (call $status (local.get $response) (local.get $status)) (then unreachable))
    (call $body (local.get $response) (i32.const 16)) (call $ok)
    (global.set $sent (i32.load (i32.const 20)))
    (call $write (global.get $sent) (i32.const 16)) (call $ok)
    (call $set (global.get $out) (i32.const 0) (local.get $response) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (i32.load (i32.const 20)))
  (func $end (param $stream i32)
    (call $drop_output (local.get $stream))
    (call $finish (global.get $sent) (i32.const 0) (i32.const 0) (i32.const 16)))
  (func $hello (param $stream i32) (call $send (local.get $stream) (i32.const 1024) (i32.const 21) (i32.const 16)) (call $ok))
  (func $echo (param $request i32) (local $in i32) (local $to i32)
    (call $consume (local.get $request) (i32.const 16)) (call $ok)
    (call $stream (i32.load (i32.const 20)) (i32.const 16)) (call $ok)
    (local.set $in (i32.load (i32.const 20)))
    (local.set $to (call $answer (i32.const 200) (call $fields)))
    (loop $more
      (call $read (local.get $in) (i64.const 4096) (i32.const 16))
      (if (i32.eqz (i32.load8_u (i32.const 16))) (then
        (call $send (local.get $to) (i32.load (i32.const 20)) (i32.load (i32.const 24)) (i32.const 16)) (call $ok) (br $more)))
      ;; A body that fails, and does not just end, is not finished.
      (if (i32.eqz (i32.load8_u (i32.const 20))) (then unreachable)))
    (call $drop_input (local.get $in))
    (call $end (local.get $to)))
  (func $greet (local $fields i32) (local $stream i32)
    (local.set $fields (call $fields))
    (call $append (local.get $fields) (i32.const 1100) (i32.const 7) (i32.const 1110) (i32.const 3) (i32.const 16)) (call $ok)
    (local.set $stream (call $answer (i32.const 201) (local.get $fields)))
    (call $hello (local.get $stream))
    (call $end (local.get $stream)))
  (func (export "wasi:http/incoming-handler@0.2.12#handle") (param $request i32) (param $out i32) (local $what i32) (local $stream i32)
    (global.set $out (local.get $out))
    (call $path (local.get $request) (i32.const 16))
    (local.set $what (i32.load8_u offset=1 (i32.load (i32.const 20))))
    (if (i32.eq (local.get $what) (i32.const 101)) (then (call $echo (local.get $request)) (return)))
    (call $drop_request (local.get $request))
    (if (i32.eq (local.get $what) (i32.const 103)) (then (call $greet)))
    (if (i32.eq (local.get $what) (i32.const 116)) (then unreachable))
    (if (i32.eq (local.get $what) (i32.const 98)) (then (call $hello (call $answer (i32.const 200) (call $fields))) unreachable))
    (if (i32.eq (local.get $what) (i32.const 117)) (then (call $hello (call $answer (i32.const 200) (call $fields)))))
    (if (i32.eq (local.get $what) (i32.const 102)) (then
      (call $set (global.get $out) (i32.const 1) (i32.const 35) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))))
    (if (i32.eq (local.get $what) (i32.const 108)) (then (loop $forever (br $forever))))
    (if (i32.eq (local.get $what) (i32.const 115)) (then (call $hello (call $answer (i32.const 200) (call $fields))) (loop $forever (br $forever))))
    (if (i32.eq (local.get $what) (i32.const 109)) (then
      (local.set $stream (call $answer (i32.const 200) (call $fields)))
      (loop $more (call $send (local.get $stream) (i32.const 1024) (i32.const 4096) (i32.const 16)) (call $ok) (br $more))))
    (if (i32.eq (local.get $what) (i32.const 119)) (then (call $hello (call $stdout)) (call $greet)))
    (if (i32.eq (local.get $what) (i32.const 107)) (then (loop $more (drop (call $fields)) (br $more))))
    (if (i32.eq (local.get $what) (i32.const 120)) (then
      (call $append (call $fields) (i32.const 1120) (i32.const 10) (i32.const 1110) (i32.const 3) (i32.const 16))
      (call $end (call $answer (i32.add (i32.const 200) (i32.load8_u (i32.const 16))) (call $fields)))))))
