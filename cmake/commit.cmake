# cmake -DSOURCE=… -DTEMPLATE=… -DTO=… -P commit.cmake: configures the template with the commit of the
# sources, followed by "+" where they differ from it; empty where they are not those of a repository.
set(commit "")
find_program(HEED_GIT git)
if(HEED_GIT AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND ${HEED_GIT} rev-parse HEAD WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE commit
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  execute_process(COMMAND ${HEED_GIT} diff --quiet HEAD WORKING_DIRECTORY ${SOURCE}
                  RESULT_VARIABLE differs ERROR_QUIET)
  if(commit AND differs)
    string(APPEND commit "+")
  endif()
endif()
configure_file(${TEMPLATE} ${TO} @ONLY)
